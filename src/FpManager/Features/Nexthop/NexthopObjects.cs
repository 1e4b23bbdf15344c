using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>
/// Nexthop objects by id. The MTU of the route and its family belong to a nexthop here, so routes that differ in them use
/// variants of the object; the variant of IPv4 routes without an MTU is the object itself, and is there without routes too.
/// </summary>
internal sealed class NexthopObjects(NexthopStore store)
{
    private const uint TypeResilient = 1; // NEXTHOP_GRP_TYPE_RES

    private readonly Dictionary<uint, List<Variant>> _variants = [];

    private readonly record struct Variant(ushort Mtu, byte Family, int Nexthop)
    {
        public bool IsObject => Mtu == 0 && Family == NexthopSpec.Ipv4;
    }

    /// <summary>A reference to the object, as such routes use it. One not yet heard of punts.</summary>
    public int Acquire(uint id, uint mtu, byte family)
    {
        ushort own = (ushort)Math.Min(mtu, 0xffff);
        int n = Find(id, own, family);
        if (n == NexthopStore.None)
        {
            n = store.Add(new NexthopRecord { ObjectId = id, Mtu = own, Family = family, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
            if (n == NexthopStore.None)
            {
                return store.Full();
            }

            Remember(id, own, family, n);
            int original = Find(id, 0, NexthopSpec.Ipv4);
            if (original != n && original != NexthopStore.None)
            {
                store.Rewrite(n, CopyOf(original, own, family));
            }
        }

        store.AddReference(n);
        return n;
    }

    /// <summary>An object was made or changed: all who use it follow at once.</summary>
    public void Upsert(Wire.Nexthop wire, ulong generation)
    {
        int n = Find(wire.Id, 0, NexthopSpec.Ipv4);
        if (n == NexthopStore.None || !IsAnnounced(n)) // from its first announcement to its end the object holds a reference
        {
            int held = Acquire(wire.Id, 0, NexthopSpec.Ipv4);
            if (!_variants.ContainsKey(wire.Id))
            {
                store.Release(held); // no room
                return;
            }
        }

        foreach (Variant v in _variants[wire.Id].ToList())
        {
            NexthopRecord r = new() { ObjectId = wire.Id, Mtu = v.Mtu, Family = v.Family, Generation = v.IsObject ? generation : 0 };
            store.Rewrite(v.Nexthop, wire.Members.Count == 0
                ? Single(r, wire)
                : Group(r, wire.GroupType == TypeResilient, [.. wire.Members.Select(m => (m.Id, m.Weight))], wire.Buckets));
        }
    }

    /// <summary>Routes that still name a deleted object punt until their own end is announced.</summary>
    public void Remove(uint id)
    {
        foreach (Variant v in _variants.GetValueOrDefault(id)?.ToList() ?? [])
        {
            bool announced = IsAnnounced(v.Nexthop);
            store.Rewrite(v.Nexthop, new NexthopRecord { ObjectId = id, Mtu = v.Mtu, Family = v.Family, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
            if (announced)
            {
                store.Release(v.Nexthop);
            }
        }
    }

    public int Sweep(ulong generation)
    {
        List<uint> stale =
        [
            .. _variants.Where(o => o.Value.Any(v => IsAnnounced(v.Nexthop) && store[v.Nexthop].Generation != generation)).Select(o => o.Key)
        ];
        stale.ForEach(Remove);
        return stale.Count;
    }

    /// <summary>A record found after a restart.</summary>
    public void Restore(int n)
    {
        NexthopRecord r = store[n];
        Remember(r.ObjectId, r.Mtu, r.Family, n);
        if (IsAnnounced(n))
        {
            store.AddReference(n);
        }
    }

    /// <summary>Nobody refers to this variant any more.</summary>
    public void Forget(int n)
    {
        uint id = store[n].ObjectId;
        List<Variant> all = _variants[id];
        all.RemoveAll(v => v.Nexthop == n);
        if (all.Count == 0)
        {
            _variants.Remove(id);
        }
    }

    private NexthopRecord CopyOf(int original, ushort mtu, byte family)
    {
        NexthopRecord r = store[original] with { Mtu = mtu, Family = family, Generation = 0 };
        return !r.IsGroup ? r
            : Group(r, r.Kind == NexthopKind.ResilientGroup,
                [.. store.MembersOf(original).Select(m => (store[m.Member].ObjectId, m.Weight))],
                [.. store.BucketsOf(original).Select(b => store[b].ObjectId)]);
    }

    private static NexthopRecord Single(NexthopRecord r, Wire.Nexthop wire)
    {
        r.IfIndex = wire.Ifindex;
        if (wire.Blackhole || wire.Fdb || wire.Encap)
        {
            r.Kind = NexthopKind.Punt;
            r.Reason = wire.Blackhole ? PuntReason.Blackhole : wire.Encap ? PuntReason.Encapsulation : PuntReason.RouteUnsupported;
        }
        else
        {
            r.Kind = NexthopKind.Single;
            r.Gateway = IpAddress.FromBytes(wire.Gateway.Span);
            r.Flags = (ushort)(wire.Flags & (NexthopSpec.Dead | NexthopSpec.LinkDown));
        }

        return r;
    }

    private NexthopRecord Group(NexthopRecord r, bool resilient, IReadOnlyList<(uint Id, uint Weight)> members, IReadOnlyList<uint> buckets)
    {
        Dictionary<uint, int> byId = [];
        List<(int Member, uint Weight)> held = [];
        void Hold(uint id, uint weight)
        {
            byId[id] = id == 0 ? store.Full() : Acquire(id, r.Mtu, r.Family);
            held.Add((byId[id], weight));
        }

        foreach ((uint id, uint weight) in members)
        {
            Hold(id, weight);
        }

        foreach (uint id in buckets.Distinct().Except(byId.Keys).ToList())
        {
            Hold(id, 0); // it was a member until now; the kernel is about to move the bucket
        }

        r.Kind = resilient ? NexthopKind.ResilientGroup : NexthopKind.Group;
        if (store.TryLayOut(held, ref r, [.. buckets.Select(b => byId[b])]))
        {
            return r;
        }

        held.ForEach(m => store.Release(m.Member));
        return new NexthopRecord { ObjectId = r.ObjectId, Mtu = r.Mtu, Family = r.Family, Generation = r.Generation, Kind = NexthopKind.Punt, Reason = PuntReason.TableFull };
    }

    /// <summary>Only the object itself carries a generation.</summary>
    private bool IsAnnounced(int n) => store[n].Generation != 0;

    private int Find(uint id, ushort mtu, byte family)
    {
        foreach (Variant v in _variants.GetValueOrDefault(id) ?? [])
        {
            if (v.Mtu == mtu && v.Family == family)
            {
                return v.Nexthop;
            }
        }

        return NexthopStore.None;
    }

    private void Remember(uint id, ushort mtu, byte family, int n)
    {
        if (!_variants.TryGetValue(id, out List<Variant>? all))
        {
            _variants[id] = all = [];
        }

        all.Add(new Variant(mtu, family, n));
    }
}
