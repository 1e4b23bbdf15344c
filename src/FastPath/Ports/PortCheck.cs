using FastPathSync.FastPath.Xsk;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.FastPath.Ports;

/// <summary>What is asked of ports before anything is made for them, at start and later; each fault is one line with cause and mend.</summary>
internal static class PortCheck
{
    /// <param name="ports">By PortId; PortName.None where an id is free.</param>
    public static void Names(IReadOnlyList<PortName> ports)
    {
        if (ports.All(n => n.IsNone))
        {
            throw new DaemonStartException(Errno.EINVAL, "no port: give at least one with --port [VRF/]IF");
        }

        if (ports.Count > Capacities.Ports)
        {
            throw new DaemonStartException(Errno.E2BIG, $"{ports.Count} ports: at most {Capacities.Ports} can be served");
        }

        if (ports.Where(n => !n.IsNone).GroupBy(n => n).FirstOrDefault(g => g.Count() > 1) is { } twice)
        {
            throw new DaemonStartException(Errno.EEXIST, $"port {twice.Key} is given twice; give each port once");
        }
    }

    /// <summary>Whether its packets fit the largest frames there can be.</summary>
    public static void Mtu(Port p)
    {
        int largest = MaxMtu(Umem.LargeFrame);
        if (p.Mtu > largest)
        {
            throw new DaemonStartException(
                Errno.EMSGSIZE, $"port {p.Configured}: its MTU {p.Mtu} does not fit a packet frame (largest: {largest}); lower it with 'ip link set dev {p.Name} mtu {largest}'");
        }
    }

    /// <summary>Whether its packets fit the frames that the workers have: their size is chosen when they start.</summary>
    public static void Mtu(Port p, uint frameSize)
    {
        Mtu(p);
        int largest = MaxMtu(frameSize);
        if (p.Mtu > largest)
        {
            throw new DaemonStartException(
                Errno.EMSGSIZE,
                $"port {p.Configured}: its MTU {p.Mtu} needs larger packet frames than the fast path was started with ({frameSize} bytes, largest MTU {largest}); lower it with 'ip link set dev {p.Name} mtu {largest}', or stop the instance and start it with this port");
        }
    }

    public static void Queues(Port p, int workers)
    {
        if (p.Queues > XdpLayout.MaxQueues)
        {
            throw new DaemonStartException(
                Errno.E2BIG, $"port {p.Configured} has {p.Queues} receive queues; at most {XdpLayout.MaxQueues} of a port can be served: give it fewer (ethtool -L {p.Name} combined {XdpLayout.MaxQueues}, or rx {XdpLayout.MaxQueues})");
        }

        if (p.Queues < workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Configured} has {p.Queues} receive queue{(p.Queues == 1 ? "" : "s")} for {workers} workers; each worker needs a queue of every port: use --workers {Math.Min(p.Queues, p.TransmitQueues)}, or give the port more queues (ethtool -L {p.Name} rx {workers} tx {workers}, or combined {workers})");
        }

        // The kernel sends nothing for a socket on a queue that has no transmit side (__xsk_generic_xmit: ENXIO).
        if (p.TransmitQueues < workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Configured} has {p.TransmitQueues} transmit queue{(p.TransmitQueues == 1 ? "" : "s")} for {workers} workers; each worker needs one of its own: use --workers {p.TransmitQueues}, or give the port more (ethtool -L {p.Name} tx {workers})");
        }
    }

    public static int MaxMtu(uint frameSize) => (int)Umem.MaxFrame(frameSize) - Port.EthernetHeader;
}
