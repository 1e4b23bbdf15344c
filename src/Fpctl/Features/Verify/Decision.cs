using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>What Linux does with a packet to some destination, as far as the fast path must do the same.</summary>
/// <param name="Via">The ways out in canonical text, or null: Linux's own business.</param>
/// <param name="Punt">The reason that the fast path must give when Via is null; null: any.</param>
/// <param name="MayPunt">Punting is right as well.</param>
/// <param name="Interfaces">The interfaces of the ways out.</param>
internal sealed record Decision(string? Via, PuntReason? Punt, bool MayPunt, uint[] Interfaces)
{
    /// <summary>Nothing depends on what the FIB says here.</summary>
    public static readonly Decision Unjudged = new("(demoted)", null, true, []);

    public static readonly Decision NoRoute = new(null, PuntReason.NoRoute, false, []);

    public override string ToString() => Via ?? (Punt is PuntReason r ? $"punt {ReasonNames.Of(r)}" : "punt");
}

/// <summary>Gives each decision a number, and makes the decision of a route.</summary>
/// <param name="ipv6">Of IPv6 routes: which interfaces ignore routes with link down is a setting of each family.</param>
internal sealed class DecisionTable(KernelState kernel, Func<uint, string> interfaceName, bool ipv6 = false)
{
    private readonly List<Decision> _decisions = [];
    private readonly Dictionary<(uint IfIndex, IpAddress Gateway), int> _single = [];
    private readonly Dictionary<(string?, PuntReason?, bool), int> _numbers = [];
    private readonly Dictionary<uint, KernelNexthop> _objects = kernel.Nexthops.ToDictionary(n => n.Id);
    private readonly Dictionary<uint, int> _ofObject = [];
    private readonly HashSet<uint> _ignoreLinkdown = [.. kernel.Interfaces.Where(i => ipv6 ? i.IgnoreRoutesWithLinkdown6 : i.IgnoreRoutesWithLinkdown).Select(i => i.IfIndex)];

    /// <summary>A route whose ways are all dead: Linux looks on as if it weren't there.</summary>
    public const int Dead = -1;

    public Decision this[int number] => _decisions[number];

    public int Number(Decision d)
    {
        if (!_numbers.TryGetValue((d.Via, d.Punt, d.MayPunt), out int n))
        {
            n = _decisions.Count;
            _decisions.Add(d);
            _numbers[(d.Via, d.Punt, d.MayPunt)] = n;
        }

        return n;
    }

    public int PuntFor(PuntReason? reason) => Number(new Decision(null, reason, false, []));

    public int Of(in KernelRoute r) => Of(r.Type, r.NexthopObject, r.Hops);

    public int Of(in KernelRoute6 r) => Of(r.Type, r.NexthopObject, r.Hops);

    private int Of(byte type, uint nexthopObject, KernelHop[] hops)
    {
        PuntReason? reason = type switch
        {
            KernelNames.RTN_LOCAL => PuntReason.Local,
            KernelNames.RTN_ANYCAST when ipv6 => PuntReason.Local,
            KernelNames.RTN_BROADCAST => PuntReason.Broadcast,
            KernelNames.RTN_BLACKHOLE => PuntReason.Blackhole,
            KernelNames.RTN_UNREACHABLE => PuntReason.Unreachable,
            KernelNames.RTN_PROHIBIT => PuntReason.Prohibit,
            KernelNames.RTN_THROW => PuntReason.Throw,
            _ => null,
        };
        if (type != KernelNames.RTN_UNICAST)
        {
            return PuntFor(reason);
        }

        if (nexthopObject != 0)
        {
            if (!_ofObject.TryGetValue(nexthopObject, out int n))
            {
                n = _ofObject[nexthopObject] = OfObject(nexthopObject);
            }

            return n;
        }

        return OfHops(hops);
    }

    private int OfObject(uint id)
    {
        if (!_objects.TryGetValue(id, out KernelNexthop o))
        {
            return PuntFor(null); // the dumps straddle a change: the recheck will tell
        }

        if (o.Blackhole)
        {
            return PuntFor(PuntReason.Blackhole);
        }

        return o.Members.Length == 0 ? OfHops([o.Hop])
            : OfHops([.. from m in o.Members where _objects.ContainsKey(m.Id) select _objects[m.Id].Hop with { Weight = m.Weight }]);
    }

    private int OfHops(KernelHop[] hops)
    {
        if (hops.Length == 1 && hops[0] is { Flags: 0, LinuxOnly: false } h)
        {
            if (!_single.TryGetValue((h.IfIndex, h.Gateway), out int n))
            {
                n = _single[(h.IfIndex, h.Gateway)] = Number(new Decision(Text([h]), null, false, [h.IfIndex]));
            }

            return n;
        }

        if (hops.Any(x => x.LinuxOnly))
        {
            return PuntFor(null);
        }

        KernelHop[] alive = [.. hops.Where(x => !IsDead(x.IfIndex, x.Flags))];
        return alive.Length == 0 ? Dead : Number(new Decision(Text(alive), null, false, [.. alive.Select(x => x.IfIndex)]));
    }

    /// <summary>fib_select_default and fib_table_lookup pass over a nexthop that is dead, or linkdown where its interface says so.</summary>
    public bool IsDead(uint ifindex, uint flags) =>
        (flags & KernelNames.RTNH_F_DEAD) != 0 || ((flags & KernelNames.RTNH_F_LINKDOWN) != 0 && _ignoreLinkdown.Contains(ifindex));

    /// <summary>Ways out in their order, which decides which hashes each gets; weights only where there is a choice.</summary>
    public string Text(IReadOnlyList<KernelHop> hops) => string.Join(", ", hops.Select(
        h => $"{(h.Gateway.IsNone ? "" : $"via {h.Gateway} ")}dev {interfaceName(h.IfIndex)}" + (hops.Count > 1 ? $" weight {h.Weight}" : "")));
}
