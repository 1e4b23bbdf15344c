using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features;

/// <summary>
/// What the kernel does to nexthop objects and routes without announcing it (net/ipv4/fib_semantics.c: fib_sync_down_dev,
/// fib_sync_down_addr; net/ipv4/nexthop.c: nexthop_flush_dev, remove_nexthop; net/ipv6/route.c: fib6_ifdown). Features note the causes
/// here; Apply passes them on before the next event that could depend on it, and at the end of a burst, so that thousands
/// of causes cost one walk of the tables. The resync that follows corrects what this did not foresee.
/// </summary>
public sealed class Cascade
{
    /// <summary>An interface that is not up any more: its nexthops are dead.</summary>
    public HashSet<int> Down { get; } = [];

    /// <summary>An interface that does not exist any more: a multipath route dies with any member of it.</summary>
    public HashSet<int> Gone { get; } = [];

    /// <summary>An interface without addresses: even routes of host scope leave it (fib_disable_ip with force).</summary>
    public HashSet<int> Unaddressed { get; } = [];

    /// <summary>An interface whose carrier has gone.</summary>
    public HashSet<int> LinkDown { get; } = [];

    /// <summary>Local addresses (host byte order) that are no longer anywhere.</summary>
    public HashSet<uint> DeadAddresses { get; } = [];

    /// <summary>IPv6 addresses that are no longer anywhere.</summary>
    public HashSet<InetAddress> DeadAddresses6 { get; } = [];

    /// <summary>Nexthop objects, groups included, that exist no more.</summary>
    public HashSet<uint> DeadNexthops { get; } = [];

    /// <summary>
    /// Something happened to a link's IPv6 of which the message was written too early: rtnetlink_event (net/core/rtnetlink.c) tells of a
    /// new MTU before addrconf_notify (net/ipv6/addrconf.c) has acted on it.
    /// </summary>
    public bool DoubtsIpv6OfLinks { get; set; }

    /// <summary>Nexthop objects die with their interfaces; set by the feature, called before Routes.</summary>
    public Action? Nexthops { get; set; }

    public Action? Routes { get; set; }

    /// <summary>Set when IPv4 routes or nexthops changed, or may have, in a way that only a dump can tell.</summary>
    public bool InDoubt { get; private set; }

    /// <summary>The same of IPv6 routes.</summary>
    public bool InDoubt6 { get; private set; }

    private bool IsPending => Down.Count + Gone.Count + Unaddressed.Count + LinkDown.Count + DeadAddresses.Count + DeadAddresses6.Count + DeadNexthops.Count > 0;

    public void Doubt() => InDoubt = true;

    public void Doubt6() => InDoubt6 = true;

    public (bool Ipv4, bool Ipv6) TakeDoubts()
    {
        (bool, bool) doubts = (InDoubt, InDoubt6);
        InDoubt = InDoubt6 = false;
        return doubts;
    }

    public void Apply()
    {
        if (!IsPending)
        {
            return;
        }

        Nexthops?.Invoke();
        Routes?.Invoke();
        InDoubt = InDoubt6 = true;
        Down.Clear();
        Gone.Clear();
        Unaddressed.Clear();
        LinkDown.Clear();
        DeadAddresses.Clear();
        DeadAddresses6.Clear();
        DeadNexthops.Clear();
    }
}
