using FastPathSync.Hosting;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager;

public sealed class FpManagerOptions
{
    /// <summary>The interfaces the fast path serves; the index is the PortId, PortName.None where one is free.</summary>
    public IReadOnlyList<PortName> Ports { get; private set; } = [];

    /// <summary>"ADDRESS:PORT", or null.</summary>
    public string? FpcTcp { get; private set; }

    /// <summary>Of VRFs with ports.</summary>
    public VrfSizes TableSizes { get; private set; } = VrfSizes.Full;

    public void Declare(OptionTable options) => options
        .List("--port", "[VRF/]IF", "interface that the fast path serves (repeat; same order as fastpath's)", v => Ports = [.. v.Select(PortName.Parse)])
        .Text("--fpc-tcp", "ADDRESS:PORT", "listen for FPC on TCP too", v => FpcTcp = v)
        .Text("--table-sizes", "NAME=N,...", $"room in the tables of a VRF with ports ({VrfSizes.Names})", v => TableSizes = VrfSizes.Parse(v));
}
