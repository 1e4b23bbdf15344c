using FastPathSync.Hosting;

namespace FastPathSync.FpManager;

public sealed class FpManagerOptions
{
    /// <summary>The interfaces the fast path serves; the index is the PortId.</summary>
    public IReadOnlyList<PortName> Ports { get; private set; } = [];

    /// <summary>"ADDRESS:PORT", or null.</summary>
    public string? FpcTcp { get; private set; }

    public void Declare(OptionTable options) => options
        .List("--port", "[VRF/]IF", "interface that the fast path serves (repeat; same order as fastpath's)", v => Ports = [.. v.Select(PortName.Parse)])
        .Text("--fpc-tcp", "ADDRESS:PORT", "listen for FPC on TCP too", v => FpcTcp = v);
}
