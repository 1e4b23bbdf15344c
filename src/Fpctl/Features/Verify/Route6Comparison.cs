using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Compares the kernel's IPv6 routes, of all tables, with the records in shared memory.</summary>
internal sealed class Route6Comparison(KernelState kernel, InstanceTables tables, Findings findings, TableComparison hops)
{
    public void Run()
    {
        Dictionary<Route6Key, KernelRoute6> first = new(kernel.Routes6.Count);
        HashSet<Route6Key> several = [];
        foreach (KernelRoute6 r in kernel.Routes6)
        {
            if (!first.TryAdd(r.Key, r))
            {
                several.Add(r.Key);
            }
        }

        Dictionary<Route6Key, Route6Record> fast = new(first.Count);
        foreach ((_, Route6Record r) in tables.Routes6.All())
        {
            fast[new Route6Key(r.Table, r.Destination, r.PrefixLength, r.Source, r.SourceLength, r.Metric)] = r;
        }

        // Of several the fast path says that they are; it may know of more than a dump shows.
        findings.Compare("route6", first, fast, Text, Text, f => Text(in f), (k, f) => Same(in k, in f) && (f.IsAmbiguous || !several.Contains(k.Key)));
    }

    private static string Text(Route6Key k) =>
        $"{Ip6Text.Prefix(k.Destination, k.PrefixLength)} table {KernelNames.Table(k.Table)}"
        + (k.SourceLength != 0 ? $" from {Ip6Text.Prefix(k.Source, k.SourceLength)}" : "") + (k.Metric != 0 ? $" metric {k.Metric}" : "");

    private string Text(KernelRoute6 r) => Text(
        r.Type, r.Protocol, r.Preference, r.Mtu, r.MtuLocked, r.PreferredSource, r.NexthopObject, r.NexthopObject == 0 && r.Type == KernelNames.RTN_UNICAST ? hops.Hops(r.Hops) : "");

    private string Text(in Route6Record r) => Text(
        r.Type, r.Protocol, r.Preference, r.Mtu, (r.State & Route6Record.MtuLocked) != 0, r.PreferredSource, r.NexthopObject,
        r.NexthopObject == 0 ? hops.Hops(hops.Hops(r.Nexthop)) : "") + (r.IsAmbiguous ? " (ambiguous)" : "");

    private static string Text(byte type, byte protocol, byte preference, uint mtu, bool locked, IpAddress source, uint nhid, string ways) =>
        KernelNames.RouteType(type) + (ways.Length > 0 ? $" {ways}" : "") + (nhid != 0 ? $" nhid {nhid}" : "") + $" proto {KernelNames.Protocol(protocol)}"
        + (source.IsNone ? "" : $" src {source}") + (mtu != 0 ? $" mtu {(locked ? "lock " : "")}{mtu}" : "")
        + (KernelNames.Preference(preference) is string p ? $" pref {p}" : "");

    private bool Same(in KernelRoute6 k, in Route6Record f)
    {
        if (k.Type != f.Type || k.Protocol != f.Protocol || k.Preference != f.Preference || k.Mtu != f.Mtu
            || k.MtuLocked != ((f.State & Route6Record.MtuLocked) != 0) || k.PreferredSource != f.PreferredSource
            || k.NexthopObject != f.NexthopObject || !tables.Nexthops.TryRead(f.Nexthop, out NexthopRecord n))
        {
            return false;
        }

        // An object's nexthops are compared with the object; Linux's own business needs none.
        return k.NexthopObject != 0 ? n.ObjectId == k.NexthopObject && n.Family == KernelNames.AF_INET6
            : k.Type != KernelNames.RTN_UNICAST || k.Hops.Any(h => h.LinuxOnly) || hops.SameHops(k.Hops, n, f.Nexthop);
    }
}
