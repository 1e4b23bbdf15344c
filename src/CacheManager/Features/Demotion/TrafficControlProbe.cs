using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.Netlink.TrafficControl;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// tc: ingress filters would see, drop or redirect what the fast path takes before them, so the interface's ingress is
/// demoted. Queueing disciplines and egress filters are told as bypassed, since AF_XDP transmits past them.
/// </summary>
internal sealed class TrafficControlProbe : Probe
{
    private EventSocket? _events;
    private RtnetlinkDump? _dump;

    public override string Name => "tc";

    public override int Descriptor => _events!.Descriptor;

    public override TimeSpan Period => TimeSpan.FromSeconds(2);

    public override void Open()
    {
        _events = new EventSocket(NetlinkSocket.NETLINK_ROUTE, Rtm.RTNLGRP_TC, "rtnetlink");
        _dump = new RtnetlinkDump();
    }

    public override void Drain() => _events!.Drain();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        foreach (IGrouping<int, QdiscMessage> of in _dump!.Qdiscs().GroupBy(q => q.Index))
        {
            if (!interfaces.TryFind((uint)of.Key, out InterfaceInfo i))
            {
                continue;
            }

            JudgeQueues(i.Name, i.Index, of, findings);
            if (of.Any(HoldsFilters))
            {
                JudgeFilters(i.Name, i.Index, findings);
            }
        }
    }

    public override void Dispose()
    {
        _events?.Dispose();
        _dump?.Dispose();
        _events = null;
        _dump = null;
    }

    /// <summary>Of the disciplines of one interface, those that a user chose (the kernel's own default has handle 0) and that delay, drop or reorder.</summary>
    internal static void JudgeQueues(string name, uint ifindex, IEnumerable<QdiscMessage> qdiscs, List<Finding> findings)
    {
        List<QdiscMessage> chosen = [.. qdiscs.Where(q => q.Handle != 0 && !HoldsFilters(q) && q.Kind is not ("noqueue" or "pfifo_fast" or "mq"))];
        if (chosen.Count == 0)
        {
            return;
        }

        QdiscMessage top = chosen.FirstOrDefault(q => q.Parent == QdiscConstants.TC_H_ROOT, chosen[0]);
        findings.Add(new Finding(
            $"tc qdisc dev {name}",
            $"AF_XDP transmits past the queueing discipline {top.Kind} {top.Handle >> 16:x}: of {name}",
            DemotionEffect.Bypassed,
            ifindex));
    }

    /// <summary>clsact and ingress are no queues.</summary>
    private static bool HoldsFilters(QdiscMessage q) => q.Parent == QdiscConstants.TC_H_INGRESS;

    private void JudgeFilters(string name, uint ifindex, List<Finding> findings)
    {
        if (Count(ifindex, TcFilter.IngressParent) is { Number: > 0 } ingress)
        {
            findings.Add(new Finding(
                $"tc filter dev {name} ingress",
                $"{ingress.Text} would see, change or drop what {name} receives",
                DemotionEffect.Ingress,
                ifindex));
        }

        if (Count(ifindex, TcFilter.EgressParent) is { Number: > 0 } egress)
        {
            findings.Add(new Finding(
                $"tc filter dev {name} egress",
                $"AF_XDP transmits past {egress.Text} on the egress of {name}",
                DemotionEffect.Bypassed,
                ifindex));
        }
    }

    private (int Number, string Text) Count(uint ifindex, uint parent)
    {
        List<TcFilter> filters = [];
        _events!.Requests.DumpConsistently(() => TcFilter.Dump((int)ifindex, parent), filters.Clear, (scoped in NetlinkMessage m) =>
        {
            if (TcFilter.TryParse(in m, out TcFilter f))
            {
                filters.Add(f);
            }
        });

        // The lists that hold the filters are dumped too, with handle 0. An empty list is no filter. Some kinds dump more than
        // their filters (u32 its hash tables), so that their number says nothing.
        List<TcFilter> real = [.. filters.Where(f => f.Handle != 0)];
        return (real.Count, $"the tc filters ({string.Join(", ", real.Select(f => f.Kind).Distinct())})");
    }
}
