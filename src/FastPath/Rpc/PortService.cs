using FastPathSync.Bpf;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Google.Protobuf;

namespace FastPathSync.FastPath.Rpc;

/// <summary>
/// NETFPC: the ports, and what Linux is given of their packets. An interface itself is the truth: SetPortMtu makes the fast path look at it at once, and tells whether
/// frames of that size fit. While they don't, XDP passes everything of the port to Linux.
/// </summary>
internal sealed class PortService(FastPathEngine engine) : INetFpcService
{
    public PingReply Ping(Ping request) => new() { Pid = Libc.getpid(), ProtocolVersion = NetFpcHeader.Version };

    public PortMtuReply SetPortMtu(SetPortMtu request)
    {
        lock (engine.PortGate)
        {
            Port p = Find(request.Ifindex, request.HasPort ? request.Port : null);
            p.Refresh(p.Vrf!.Devices);
            p.Configure(p.Vrf.Devices, engine.Admission(p));
            return request.Mtu <= engine.MaxMtu ? Reply(p)
                : throw new NetFpcRefusedException(
                    Errno.EMSGSIZE,
                    $"port {p.Configured}: frames of MTU {request.Mtu} don't fit the packet frames (largest MTU: {engine.MaxMtu}), so Linux forwards them; lower it, or start the instance anew");
        }
    }

    public PortMtuReply GetPortMtu(GetPortMtu request)
    {
        lock (engine.PortGate)
        {
            return Reply(Find(request.Ifindex, request.HasPort ? request.Port : null));
        }
    }

    public AddPortReply AddPort(AddPort request) => Change(() =>
        new AddPortReply { Served = engine.Ports.Add((int)Math.Min(request.Port, int.MaxValue), PortName.Parse(request.Name)) });

    public DeletePortReply DeletePort(DeletePort request) => Change(() =>
    {
        engine.Ports.Remove((int)Math.Min(request.Port, int.MaxValue));
        return new DeletePortReply();
    });

    public PortList ListPorts(ListPorts request)
    {
        lock (engine.PortGate)
        {
            PortList list = new();
            list.Ports.AddRange(engine.Ports.All.Select(Info));
            return list;
        }
    }

    public PortInfo SetPortPromiscuous(SetPortPromiscuous request)
    {
        lock (engine.PortGate)
        {
            Port p = Find(request.Port, out short flags);
            p.Vrf!.Devices.SetFlags(p.Name, (short)(request.On ? flags | Libc.IFF_PROMISC : flags & ~Libc.IFF_PROMISC));
            return Info(p);
        }
    }

    public PortInfo SetPortWorkers(SetPortWorkers request) => Change(() =>
    {
        Port p = Find(request.Port, out _);
        engine.Ports.ServeBy(p, [.. request.Workers.Select(w => (int)Math.Min(w, int.MaxValue))]);
        return Info(p);
    });

    public unsafe SetPuntLimitReply SetPuntLimit(SetPuntLimit request)
    {
        if ((request.HasReason && request.Reason >= (uint)PuntReason.Count) || request is { HasRate: false, HasBurst: true } or { Rate: > PuntLimitSetting.MostRate }
            || (request.HasBurst && request.Burst is < PuntLimitSetting.LeastBurst or > PuntLimitSetting.MostBurst))
        {
            throw new NetFpcRefusedException(Errno.EINVAL, $"punt limit: reason {request.Reason}, rate {request.Rate}, burst {request.Burst} is none this fast path can keep");
        }

        PuntLimitSetting? wanted = request.HasRate ? PuntLimitSetting.WithBurst(request.Rate, request.HasBurst ? request.Burst : null) : null;
        lock (engine.PortGate)
        {
            PuntLimits.Set(PuntLimitSegment.Limits(engine.Segments.PuntLimits), new PuntLimitOption(request.HasReason ? (PuntReason)request.Reason : null, wanted));
        }

        return new SetPuntLimitReply();
    }

    private PortMtuReply Reply(Port p) => new() { Mtu = (uint)p.Mtu, MaxMtu = (uint)engine.MaxMtu };

    private PortInfo Info(Port p)
    {
        PortInfo info = new() { Port = (uint)p.Id, Name = p.Configured.ToString(), Ifindex = p.IfIndex, Gone = p.Gone, MaxMtu = (uint)engine.MaxMtu };
        if (p.Gone || !p.Refresh(p.Vrf!.Devices) || !p.Vrf.Devices.TryGetFlags(p.Name, out short flags) || !p.Vrf.Devices.TryGetAddress(p.Name, out ulong mac, out _))
        {
            info.Gone = true;
            return info;
        }

        info.Mtu = (uint)p.Mtu;
        info.Promiscuous = (flags & Libc.IFF_PROMISC) != 0;
        info.Address = ByteString.CopyFrom(BitConverter.GetBytes(mac).AsSpan(0, 6));
        info.Multicast.AddRange(p.Vrf.Inside(() => NetDevice.MulticastGroups(p.Name)).Select(ByteString.CopyFrom));
        (info.ReceiveQueues, info.TransmitQueues) = ((uint)p.Queues, (uint)p.TransmitQueues);
        info.Workers.AddRange(p.Bindings.Select(b => (uint)b.Worker));
        return info;
    }

    private T Change<T>(Func<T> change)
    {
        lock (engine.PortGate)
        {
            try
            {
                return change();
            }
            catch (DaemonStartException e)
            {
                throw new NetFpcRefusedException(e.ErrorNumber, e.Message);
            }
            catch (BpfException e)
            {
                throw new NetFpcRefusedException(e.ErrorNumber, e.Message);
            }
            catch (SegmentException e)
            {
                throw new NetFpcRefusedException(Errno.ESTALE, e.Message);
            }
        }
    }

    private Port Find(uint id, out short flags)
    {
        flags = 0;
        Port? p = engine.Ports.Find((int)Math.Min(id, int.MaxValue));
        return p is { Gone: false } && p.Refresh(p.Vrf!.Devices) && p.Vrf.Devices.TryGetFlags(p.Name, out flags)
            ? p
            : throw new NetFpcRefusedException(Errno.ENODEV, $"port {p?.Configured.ToString() ?? $"{id}"}: there is no such port, or its interface is missing; `fpctl port show` lists the ports");
    }

    private Port Find(uint ifindex, uint? port) =>
        engine.Ports.All.FirstOrDefault(p => p.IfIndex == ifindex && !p.Gone && (port is uint id ? p.Id == id : p.Vrf!.IsHome))
            ?? throw new LinuxException(Errno.ENODEV, "find port with ifindex", $"{ifindex}");
}
