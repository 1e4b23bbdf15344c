using FastPathSync.Linux.Collections;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>The identity of an IPv4 route in Linux, 16 bytes. Destination in host byte order.</summary>
public readonly record struct RouteKey4(uint Table, uint Destination, uint Metric, byte Length, byte Tos) : ICompactKey<RouteKey4>
{
    private readonly byte _used = 1;

    public bool IsUsed => _used != 0;

    public uint Hash
    {
        get
        {
            ulong h = (((ulong)Destination << 32) | (Table + Length)) * 0x9e3779b97f4a7c15;
            h = (h ^ (h >> 29) ^ Metric ^ ((ulong)Tos << 32)) * 0xbf58476d1ce4e5b9;
            return (uint)(h >> 32);
        }
    }

    public static RouteKey4 Of(in RouteMessage m) => new(m.Table, m.Destination.V4, m.Priority, m.PrefixLength, m.Tos);
}

/// <summary>
/// A route without its prefix; immutable, and shared by all routes that say the same (see BodyPool), for there are
/// millions of routes and few ways out. Its one way out over IPv4 stands in Index, Gateway (host byte order, 0 on-link) and
/// NexthopFlags; anything else stands in Multipath. A route by nexthop object has neither.
/// </summary>
public sealed record Route4
{
    public uint Table { get; init; }

    public uint Metric { get; init; }

    public byte Tos { get; init; }

    public uint PreferredSource { get; init; }

    public uint Mtu { get; init; }

    public uint NexthopId { get; init; }

    /// <summary>rtm_flags</summary>
    public uint Flags { get; init; }

    public int Index { get; init; }

    public uint Gateway { get; init; }

    public RouteNexthop[]? Multipath { get; init; }

    public byte Type { get; init; }

    public byte Protocol { get; init; }

    public byte Scope { get; init; }

    public byte NexthopFlags { get; init; }

    public bool Encap { get; init; }

    public static Route4 Of(in RouteMessage m)
    {
        // What the kernel says beside a nexthop object is stale as soon as the object changes: whoever wants it asks the object.
        bool single = m.NexthopId == 0 && m.Multipath is null && m.Single.Gateway.Length <= 4;
        return new Route4
        {
            Table = m.Table,
            Metric = m.Priority,
            Tos = m.Tos,
            PreferredSource = m.PreferredSource.V4,
            Mtu = m.Mtu,
            NexthopId = m.NexthopId,
            Flags = m.Flags,
            Type = m.Type,
            Protocol = m.Protocol,
            Scope = m.Scope,
            Index = single ? m.Single.Index : 0,
            Gateway = single ? m.Single.Gateway.V4 : 0,
            NexthopFlags = single ? m.Single.Flags : (byte)0,
            Encap = single && m.Single.Encap,
            Multipath = single || m.NexthopId != 0 ? null : m.Multipath ?? [m.Single], // "via inet6"
        };
    }

    public bool Equals(Route4? other) => ReferenceEquals(this, other)
        || (other is not null && Table == other.Table && Metric == other.Metric && Tos == other.Tos && Flags == other.Flags && NexthopFlags == other.NexthopFlags && IsSame(other) && SameMemberFlags(other.Multipath));

    /// <summary>The same route to the kernel (the same fib_info and type), whatever state its nexthops are in.</summary>
    public bool IsSame(Route4 other)
    {
        if (Type != other.Type || Protocol != other.Protocol || Scope != other.Scope || NexthopId != other.NexthopId
            || PreferredSource != other.PreferredSource || Mtu != other.Mtu || Index != other.Index || Gateway != other.Gateway || Encap != other.Encap
            || Multipath?.Length != other.Multipath?.Length)
        {
            return false;
        }

        for (int i = 0; i < (Multipath?.Length ?? 0); i++)
        {
            RouteNexthop a = Multipath![i], b = other.Multipath![i];
            if (a.Index != b.Index || a.Gateway != b.Gateway || a.Weight != b.Weight || a.Encap != b.Encap)
            {
                return false;
            }
        }

        return true;
    }

    public override int GetHashCode()
    {
        int hash = HashCode.Combine(HashCode.Combine(Type, Protocol, Table, Metric, Tos), PreferredSource, NexthopId, Index, Gateway, Flags, NexthopFlags);
        foreach (RouteNexthop n in Multipath ?? [])
        {
            hash = HashCode.Combine(hash, n.Index, n.Gateway, n.Weight, n.Flags);
        }

        return hash;
    }

    private bool SameMemberFlags(RouteNexthop[]? other)
    {
        for (int i = 0; i < (Multipath?.Length ?? 0); i++)
        {
            if (Multipath![i].Flags != other![i].Flags)
            {
                return false;
            }
        }

        return true;
    }
}
