using FastPathSync.CacheManager.Features.Interface;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>What is left of IPv6 routes when links, addresses and nexthop objects go.</summary>
internal sealed class Route6Survivors(Cascade cascade, InterfaceFeature interfaces)
{
    /// <summary>
    /// What fib6_ifdown, fib6_remove_prefsrc and remove_nexthop leave of a route: itself, another, or null. Deletions are
    /// announced (unless net.ipv6.route.skip_notify_on_dev_down or net.ipv4.nexthop_compat_mode say no), flags never.
    /// </summary>
    public Route6? Of(Route6 r)
    {
        if (r.NexthopId != 0)
        {
            return cascade.DeadNexthops.Contains(r.NexthopId) ? null : r;
        }

        if (!r.PreferredSource.IsNone && cascade.DeadAddresses6.Contains(r.PreferredSource))
        {
            r = r.WithoutPreferredSource();
        }

        const byte Dead = RouteConstants.RTNH_F_DEAD, LinkDown = RouteConstants.RTNH_F_LINKDOWN;
        RouteNexthop[] ways = r.Ways;
        int dead = 0;
        for (int i = 0; i < ways.Length; i++)
        {
            RouteNexthop w = ways[i];
            byte flags = w.Flags;
            if (cascade.Gone.Contains(w.Index) || (cascade.Down.Contains(w.Index) && !cascade.Unaddressed.Contains(w.Index)))
            {
                dead++;
                flags |= Dead | LinkDown;
            }
            else if (cascade.LinkDown.Contains(w.Index) && r.Type is not (RouteConstants.RTN_LOCAL or RouteConstants.RTN_ANYCAST))
            {
                flags |= interfaces.IgnoresRoutesWithLinkDown6(w.Index) ? (byte)(Dead | LinkDown) : LinkDown;
            }
            else if ((flags & Dead) != 0 && !interfaces.IsUp(w.Index))
            {
                dead++;
            }

            if (flags != w.Flags)
            {
                if (ReferenceEquals(ways, r.Ways))
                {
                    ways = [.. ways];
                }

                ways[i] = w with { Flags = flags };
            }
        }

        if (ways.Length > 0 && dead == ways.Length)
        {
            return null;
        }

        if (Array.Exists(ways, w => cascade.Gone.Contains(w.Index)))
        {
            ways = Array.FindAll(ways, w => !cascade.Gone.Contains(w.Index)); // NETDEV_UNREGISTER takes the sibling alone
        }

        return ReferenceEquals(ways, r.Ways) ? r : r.With(ways);
    }
}
