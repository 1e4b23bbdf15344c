using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.Linux.Collections;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>The source prefix of a route in an IPv6 subtree; address in host byte order.</summary>
public sealed record SourcePrefix(ulong High, ulong Low, byte Length);

/// <summary>The identity of an IPv6 route in Linux, 32 bytes. Destination in host byte order.</summary>
/// <param name="Source">A number for the source prefix; 0: for packets from anywhere.</param>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
public readonly record struct RouteKey6(ulong High, ulong Low, uint Table, uint Metric, int Source, byte Length) : ICompactKey<RouteKey6>
{
    private readonly byte _used = 1;

    public bool IsUsed => _used != 0;

    public uint Hash
    {
        get
        {
            ulong h = (High ^ BitOperations.RotateLeft(Low, 31) ^ (Table + ((uint)Length << 24) + ((uint)Source << 8))) * 0x9e3779b97f4a7c15;
            h = (h ^ (h >> 29) ^ Metric) * 0xbf58476d1ce4e5b9;
            return (uint)(h >> 32);
        }
    }
}

/// <summary>
/// An IPv6 route without its prefix: a struct fib6_info, or several that are siblings (net/ipv6/ip6_fib.c). Immutable, so
/// that a table of 200,000 routes through the same few ways out holds few of them.
/// </summary>
public sealed class Route6 : IEquatable<Route6>
{
    private Route6(in RouteMessage m, RouteNexthop[] ways)
    {
        Table = m.Table;
        Metric = m.Priority;
        Type = m.Type;
        Protocol = m.Protocol;
        Preference = m.Preference;
        Flags = m.Flags & ~0xffu; // the low byte is the only nexthop's
        Mtu = m.Mtu;
        MtuLocked = m.MtuLocked;
        PreferredSource = m.PreferredSource;
        NexthopId = m.NexthopId;
        Ways = ways;
    }

    private Route6(Route6 other, RouteNexthop[] ways, InetAddress preferredSource)
    {
        Table = other.Table;
        Metric = other.Metric;
        Type = other.Type;
        Protocol = other.Protocol;
        Preference = other.Preference;
        Flags = other.Flags;
        Mtu = other.Mtu;
        MtuLocked = other.MtuLocked;
        NexthopId = other.NexthopId;
        PreferredSource = preferredSource;
        Ways = ways;
    }

    public uint Table { get; }

    public uint Metric { get; }

    public byte Type { get; }

    public byte Protocol { get; }

    public byte Preference { get; }

    public bool MtuLocked { get; }

    public uint Flags { get; }

    public uint Mtu { get; }

    public uint NexthopId { get; }

    public InetAddress PreferredSource { get; }

    /// <summary>In Linux's order, which decides who gets which part of the hashes (rt6_multipath_upper_bound_set).</summary>
    public RouteNexthop[] Ways { get; }

    public bool IsMultipath => Ways.Length > 1;

    /// <summary>rt6_qualify_for_ecmp, as far as a message tells: who has a gateway of its own may be a sibling.</summary>
    public bool MayBeSibling => NexthopId == 0 && Ways.Length > 0 && !Ways[0].Gateway.IsNone && (IsMultipath || Protocol != RouteConstants.RTPROT_RA);

    public static Route6 Of(in RouteMessage m)
    {
        // What the kernel says beside a nexthop object is stale as soon as the object changes: whoever wants it asks the object.
        if (m.NexthopId != 0 || m.NexthopCount == 0)
        {
            return new Route6(in m, []);
        }

        RouteNexthop[] ways = new RouteNexthop[m.NexthopCount];
        for (int i = 0; i < ways.Length; i++)
        {
            ways[i] = m.Nexthop(i);
        }

        return new Route6(in m, ways);
    }

    public Route6 With(RouteNexthop[] ways) => new(this, ways, PreferredSource);

    /// <summary>
    /// As a dump would tell them, from a message that begins with any of the siblings: they are a ring, and an event about a new
    /// one begins with it (rt6_fill_node), while it stands behind all others.
    /// </summary>
    /// <param name="first">The way that stands before all others.</param>
    public Route6 BeginningWith(RouteNexthop first)
    {
        int at = Array.FindIndex(Ways, w => SameWay(w, first));
        return at <= 0 ? this : With([.. Ways[at..], .. Ways[..at]]);
    }

    public Route6 WithoutPreferredSource() => new(this, Ways, default);

    /// <summary>The same ways out to the kernel (rt6_duplicate_nexthop), whatever state they are in, and whichever stands first.</summary>
    public bool SameWays(Route6 other) =>
        NexthopId == other.NexthopId && Ways.Length == other.Ways.Length && Array.TrueForAll(other.Ways, o => Array.Exists(Ways, w => SameWay(w, o)));

    /// <summary>Every way of the other is one of ours.</summary>
    public bool Holds(Route6 other) =>
        NexthopId == 0 && other.NexthopId == 0 && other.Ways.Length > 0 && Array.TrueForAll(other.Ways, o => Array.Exists(Ways, w => SameWay(w, o)));

    public Route6 Without(Route6 other) => With(Array.FindAll(Ways, w => !Array.Exists(other.Ways, o => SameWay(w, o))));

    /// <summary>Everything that each sibling has for itself, though a dump shows the first one's only.</summary>
    public bool SameAttributes(Route6 other) =>
        Type == other.Type && Protocol == other.Protocol && Preference == other.Preference && Flags == other.Flags && Mtu == other.Mtu
        && MtuLocked == other.MtuLocked && PreferredSource == other.PreferredSource;

    public bool Equals(Route6? other) => other is not null
        && (ReferenceEquals(this, other) || (NexthopId == other.NexthopId && Table == other.Table && Metric == other.Metric && SameAttributes(other) && Ways.AsSpan().SequenceEqual(other.Ways)));

    public override bool Equals(object? obj) => Equals(obj as Route6);

    public override int GetHashCode()
    {
        HashCode h = default;
        h.Add(Table);
        h.Add(Metric);
        h.Add(NexthopId);
        h.Add(Type);
        h.Add(Mtu);
        foreach (RouteNexthop w in Ways)
        {
            h.Add(w);
        }

        return h.ToHashCode();
    }

    private static bool SameWay(in RouteNexthop a, in RouteNexthop b) => a.Index == b.Index && a.Gateway == b.Gateway && a.Encap == b.Encap;
}
