using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>The identity of an IPv4 route in Linux, 16 bytes. Destination in host byte order.</summary>
public readonly record struct RouteKey4(uint Table, uint Destination, uint Metric, byte Length, byte Tos)
{
    public static RouteKey4 Of(in RouteMessage m) => new(m.Table, m.Destination.V4, m.Priority, m.PrefixLength, m.Tos);
}

/// <summary>
/// A route without its identity, 48 bytes, made for millions. Its one way out over IPv4 stands in Index, Gateway (host byte
/// order, 0 on-link) and NexthopFlags; anything else stands in Multipath. A route by nexthop object has neither.
/// </summary>
public struct Route4 : IEquatable<Route4>
{
    public uint PreferredSource;
    public uint Mtu;
    public uint NexthopId;

    /// <summary>rtm_flags</summary>
    public uint Flags;
    public int Index;
    public uint Gateway;
    public RouteNexthop[]? Multipath;
    public byte Type;
    public byte Protocol;
    public byte Scope;
    public byte NexthopFlags;
    public bool Encap;

    public static bool operator ==(in Route4 a, in Route4 b) => a.Equals(b);

    public static bool operator !=(in Route4 a, in Route4 b) => !a.Equals(b);

    public static Route4 Of(in RouteMessage m)
    {
        Route4 r = new()
        {
            PreferredSource = m.PreferredSource.V4,
            Mtu = m.Mtu,
            NexthopId = m.NexthopId,
            Flags = m.Flags,
            Type = m.Type,
            Protocol = m.Protocol,
            Scope = m.Scope,
        };
        if (m.NexthopId != 0)
        {
            // What the kernel says beside a nexthop object is stale as soon as the object changes: whoever wants it asks the object.
            return r;
        }

        if (m.Multipath is not null)
        {
            r.Multipath = m.Multipath;
        }
        else if (m.Single.Gateway.Length > 4)
        {
            r.Multipath = [m.Single]; // "via inet6"
        }
        else
        {
            r.Index = m.Single.Index;
            r.Gateway = m.Single.Gateway.V4;
            r.NexthopFlags = m.Single.Flags;
            r.Encap = m.Single.Encap;
        }

        return r;
    }

    public readonly bool Equals(Route4 other) => Flags == other.Flags && NexthopFlags == other.NexthopFlags && IsSame(in other) && SameMemberFlags(other.Multipath);

    /// <summary>The same route to the kernel (the same fib_info and type), whatever state its nexthops are in.</summary>
    public readonly bool IsSame(in Route4 other)
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

    public override readonly bool Equals(object? obj) => obj is Route4 r && Equals(r);

    public override readonly int GetHashCode() => HashCode.Combine(Type, NexthopId, Index, Gateway);

    private readonly bool SameMemberFlags(RouteNexthop[]? other)
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
