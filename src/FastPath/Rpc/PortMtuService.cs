using FastPathSync.FastPath.Ports;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;

namespace FastPathSync.FastPath.Rpc;

/// <summary>
/// NETFPC: the MTU of a port. The interface itself is the truth: a call makes the fast path look at it at once, and tells
/// whether frames of that size fit. While they don't, XDP passes everything of the port to Linux.
/// </summary>
internal sealed class PortMtuService(FastPathEngine engine) : INetFpcService
{
    private const uint ProtocolVersion = 1;

    public PingReply Ping(Ping request) => new() { Pid = Libc.getpid(), ProtocolVersion = ProtocolVersion };

    public PortMtuReply SetPortMtu(SetPortMtu request)
    {
        lock (engine.PortGate)
        {
            Port p = Find(request.Ifindex);
            p.Refresh(engine.Devices);
            p.Configure(engine.Devices, engine.Admission(p));
            return request.Mtu <= engine.MaxMtu ? Reply(p)
                : throw new LinuxException(Errno.EMSGSIZE, "set MTU of port", $"{p.Name} to {request.Mtu} (largest that packet frames hold: {engine.MaxMtu})");
        }
    }

    public PortMtuReply GetPortMtu(GetPortMtu request)
    {
        lock (engine.PortGate)
        {
            return Reply(Find(request.Ifindex));
        }
    }

    private PortMtuReply Reply(Port p) => new() { Mtu = (uint)p.Mtu, MaxMtu = (uint)engine.MaxMtu };

    private Port Find(uint ifindex) =>
        engine.Ports.FirstOrDefault(p => p.IfIndex == ifindex && !p.Gone)
            ?? throw new LinuxException(Errno.ENODEV, "find port with ifindex", $"{ifindex}");
}
