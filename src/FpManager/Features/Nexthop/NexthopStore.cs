using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>
/// Nexthops: those that live in routes (shared by what they say) and nexthop objects (by id). Each has a record and the
/// word that workers obey; whatever the word depends on (neighbour, interface, demotion, members) calls back here.
/// </summary>
public sealed unsafe class NexthopStore
{
    public const int None = 0;

    private readonly RecordTableWriter<NexthopRecord> _records;
    private readonly ulong* _words;
    private readonly GroupMember* _members;
    private readonly MemberAllocator _memberRuns;
    private readonly InterfaceStore _interfaces;
    private readonly NeighbourStore _neighbours;
    private readonly Reclaimer _reclaimer;
    private readonly Func<uint, bool> _egressDemoted;

    private readonly ReferenceCounts _references;
    private readonly Dictionary<NexthopSpec, int> _singles = [];
    private readonly Dictionary<GroupKey, int> _groups = [];
    private readonly Dictionary<(uint Id, ushort Mtu), int> _objects = [];
    private readonly Dictionary<NeighbourKey, HashSet<int>> _byGateway = [];
    private readonly Dictionary<uint, HashSet<int>> _byInterface = [];
    private readonly Dictionary<int, HashSet<int>> _groupsOf = [];
    private int _default;

    public NexthopStore(
        ConfigurationSegments segments, InterfaceStore interfaces, NeighbourStore neighbours, Reclaimer reclaimer, Func<uint, bool> egressDemoted)
    {
        _records = new RecordTableWriter<NexthopRecord>(NexthopSegment.Records(segments.Nexthop), segments.Nexthop.Capacity);
        _words = NexthopSegment.Words(segments.Nexthop);
        _members = NexthopSegment.Members(segments.Nexthop);
        _memberRuns = new MemberAllocator(segments.Nexthop.Capacity);
        _references = new ReferenceCounts(segments.Nexthop.Capacity);
        _interfaces = interfaces;
        _neighbours = neighbours;
        _reclaimer = reclaimer;
        _egressDemoted = egressDemoted;
        Restore();
        neighbours.Changed = key => Recompute(_byGateway.GetValueOrDefault(key));
    }

    /// <summary>A group is the same as another when its members and weights are.</summary>
    private sealed record GroupKey(uint ObjectId, ushort Mtu, int[] Members, uint[] Weights)
    {
        public bool Equals(GroupKey? other) => other is not null && ObjectId == other.ObjectId && Mtu == other.Mtu
            && Members.AsSpan().SequenceEqual(other.Members) && Weights.AsSpan().SequenceEqual(other.Weights);

        public override int GetHashCode()
        {
            HashCode h = default;
            foreach (int m in Members)
            {
                h.Add(m);
            }

            return h.ToHashCode();
        }
    }

    public bool IsDead(int nexthop) =>
        _records[nexthop].Kind == NexthopKind.Single && (_records[nexthop].Flags & NexthopSpec.Dead) != 0;

    public bool IsUsed(int nexthop) => nexthop > 0 && _records.IsUsed(nexthop);

    /// <summary>A reference to the nexthop that says this, made if need be; None when the table is full.</summary>
    public int Acquire(in NexthopSpec spec)
    {
        if (!_singles.TryGetValue(spec, out int n))
        {
            n = _records.Allocate();
            if (n < 0)
            {
                return None;
            }

            _singles[spec] = n;
            _records.Write(n, RecordOf(spec, 0));
            Index(n);
            SetWord(n, WordOf(_records[n]));
        }

        _references[n]++;
        return n;
    }

    /// <summary>A reference to the nexthop object, as routes with this MTU use it. An object not yet heard of punts.</summary>
    public int AcquireObject(uint id, uint mtu)
    {
        (uint, ushort) key = (id, (ushort)Math.Min(mtu, 0xffff));
        if (!_objects.TryGetValue(key, out int n))
        {
            n = _records.Allocate();
            if (n < 0)
            {
                return None;
            }

            _objects[key] = n;
            NexthopRecord r = new() { ObjectId = id, Mtu = key.Item2, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute };
            if (_objects.TryGetValue((id, 0), out int original) && original != n)
            {
                r = _records[original] with { Mtu = key.Item2 };
                if (r.Kind == NexthopKind.Group)
                {
                    List<(int Member, uint Weight)> members = [.. MembersOf(r).Select(m => (AcquireObject(_records[m.Nexthop].ObjectId, mtu), m.Weight))];
                    if (!TryMakeGroup(members, ref r))
                    {
                        r = r with { Kind = NexthopKind.Punt, Reason = PuntReason.TableFull };
                    }
                }
            }

            _records.Write(n, r);
            Index(n);
            SetWord(n, WordOf(r));
        }

        _references[n]++;
        return n;
    }

    /// <summary>A reference to a group; takes over the callers' references to its members.</summary>
    public int AcquireGroup(List<(int Member, uint Weight)> members)
    {
        GroupKey key = new(0, 0, [.. members.Select(m => m.Member)], [.. members.Select(m => m.Weight)]);
        if (_groups.TryGetValue(key, out int n))
        {
            members.ForEach(m => Release(m.Member));
        }
        else
        {
            n = _records.Allocate();
            NexthopRecord r = new() { Kind = NexthopKind.Group };
            if (n < 0 || !TryMakeGroup(members, ref r))
            {
                members.ForEach(m => Release(m.Member));
                if (n >= 0)
                {
                    _records.Free(n);
                }

                return None;
            }

            _groups[key] = n;
            _records.Write(n, r);
            Index(n);
            SetWord(n, WordOf(r));
        }

        _references[n]++;
        return n;
    }

    public void AddReference(int nexthop) => _references[nexthop]++;

    public void Release(int nexthop)
    {
        if (nexthop == None || --_references[nexthop] > 0)
        {
            return;
        }

        NexthopRecord r = _records[nexthop];
        Unindex(nexthop);
        if (r.Kind == NexthopKind.Group)
        {
            GroupMember[] members = [.. MembersOf(r)];
            if (r.ObjectId == 0)
            {
                _groups.Remove(KeyOf(r));
            }

            DropMembers(r);
            foreach (GroupMember m in members)
            {
                Release(m.Nexthop);
            }
        }

        if (r.ObjectId != 0)
        {
            _objects.Remove((r.ObjectId, r.Mtu));
        }
        else if (r.Kind != NexthopKind.Group)
        {
            _singles.Remove(SpecOf(r));
        }

        _reclaimer.Retire(() => _records.Free(nexthop));
    }

    /// <summary>What happens to addresses that no prefix but 0.0.0.0/0 covers: as this nexthop says, now and later.</summary>
    public void SetDefault(int nexthop)
    {
        _default = nexthop;
        Volatile.Write(ref _words[0], nexthop == None ? NexthopWord.Punt(PuntReason.NoRoute).Value : _words[nexthop]);
    }

    /// <summary>Makes every word what its record says now.</summary>
    /// <returns>How many were wrong.</returns>
    public int Repair()
    {
        int wrong = 0;
        foreach ((int n, NexthopRecord r) in _records.Reader.All().Where(r => r.Slot > 0 && _references[r.Slot] > 0).ToList())
        {
            NexthopWord word = WordOf(r);
            wrong += word.Value == _words[n] ? 0 : 1;
            SetWord(n, word);
        }

        return wrong;
    }

    public void InterfaceChanged(uint ifindex) => Recompute(_byInterface.GetValueOrDefault(ifindex));

    /// <summary>A nexthop object was made or changed: all who use it follow at once.</summary>
    /// <returns>False when a table is full.</returns>
    public bool TryUpsertObject(Wire.Nexthop wire, ulong generation)
    {
        bool known = _objects.ContainsKey((wire.Id, 0));
        int n = AcquireObject(wire.Id, 0);
        if (n == None)
        {
            return false;
        }

        if (known && _records[n].Generation != 0)
        {
            _references[n]--; // the object itself holds one reference, from its first announcement to its end
        }

        bool room = true;
        foreach ((uint Id, ushort Mtu) key in _objects.Keys.Where(k => k.Id == wire.Id).ToList())
        {
            room &= TryRewriteObject(_objects[key], wire, key.Mtu, generation);
        }

        return room;
    }

    /// <summary>Routes that still name a deleted object punt until their own end is announced.</summary>
    public void RemoveObject(uint id)
    {
        foreach ((uint Id, ushort Mtu) key in _objects.Keys.Where(k => k.Id == id).ToList())
        {
            int n = _objects[key];
            bool announced = key.Mtu == 0 && _records[n].Generation != 0;
            Rewrite(n, new NexthopRecord { ObjectId = id, Mtu = key.Mtu, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
            if (announced)
            {
                Release(n);
            }
        }
    }

    public int SweepObjects(ulong generation)
    {
        List<uint> stale =
        [
            .. _objects.Where(o => o.Key.Mtu == 0 && _records[o.Value].Generation != 0 && _records[o.Value].Generation != generation).Select(o => o.Key.Id)
        ];
        stale.ForEach(RemoveObject);
        return stale.Count;
    }

    /// <summary>After a restart, once every route has taken its references: what nobody refers to is freed.</summary>
    public void FreeUnreferenced()
    {
        foreach ((int n, NexthopRecord r) in _records.Reader.All().Where(r => r.Slot > 0 && _references[r.Slot] == 0).ToList())
        {
            _references[n] = 1;
            Release(n);
        }
    }

    private static NexthopSpec SpecOf(in NexthopRecord r) => new(r.ObjectId, r.Kind, r.Reason, r.IfIndex, r.Gateway, r.Mtu, r.Flags);

    private static NexthopRecord RecordOf(in NexthopSpec s, ulong generation) => new()
    {
        ObjectId = s.ObjectId,
        IfIndex = s.IfIndex,
        Gateway = s.Gateway,
        Mtu = s.Mtu,
        Kind = s.Kind,
        Reason = s.Reason,
        Flags = s.Flags,
        Generation = generation,
    };

    private GroupKey KeyOf(NexthopRecord r)
    {
        GroupMember[] members = [.. MembersOf(r).OrderBy(m => m.Reserved)];
        return new GroupKey(r.ObjectId, r.Mtu, [.. members.Select(m => m.Nexthop)], [.. members.Select(m => m.Weight)]);
    }

    private bool TryRewriteObject(int n, Wire.Nexthop wire, ushort mtu, ulong generation)
    {
        NexthopRecord r = new() { ObjectId = wire.Id, Mtu = mtu, IfIndex = wire.Ifindex, Generation = mtu == 0 ? generation : 0 };
        if (wire.Members.Count > 0)
        {
            r.Kind = NexthopKind.Group;
            List<(int, uint)> members = [.. wire.Members.Select(m => (AcquireObject(m.Id, mtu), m.Weight))];
            if (!TryMakeGroup(members, ref r))
            {
                members.ForEach(m => Release(m.Item1));
                Rewrite(n, r with { Kind = NexthopKind.Punt, Reason = PuntReason.TableFull });
                return false;
            }
        }
        else if (wire.Blackhole || wire.Fdb || wire.Encap || wire.Gateway.Length == 16)
        {
            r.Kind = NexthopKind.Punt;
            r.Reason = wire.Blackhole ? PuntReason.Blackhole : wire.Encap ? PuntReason.Encapsulation
                : wire.Gateway.Length == 16 ? PuntReason.ViaIpv6 : PuntReason.RouteUnsupported;
        }
        else
        {
            r.Kind = NexthopKind.Single;
            r.Gateway = IpAddress.FromBytes(wire.Gateway.Span);
            r.Flags = (ushort)(wire.Flags & (NexthopSpec.Dead | NexthopSpec.LinkDown));
        }

        Rewrite(n, r);
        return true;
    }

    /// <summary>Replaces what a nexthop says, keeping its index.</summary>
    private void Rewrite(int n, NexthopRecord r)
    {
        NexthopRecord old = _records[n];
        GroupMember[] oldMembers = old.Kind == NexthopKind.Group ? [.. MembersOf(old)] : [];
        Unindex(n);
        _records.Write(n, r);
        Index(n);
        SetWord(n, WordOf(r));
        foreach (int group in _groupsOf.GetValueOrDefault(n)?.ToList() ?? [])
        {
            RebuildGroup(group);
        }

        if (old.Kind == NexthopKind.Group)
        {
            DropMembers(old);
            foreach (GroupMember m in oldMembers)
            {
                Release(m.Nexthop);
            }
        }
    }

    private NexthopWord WordOf(in NexthopRecord r)
    {
        switch (r.Kind)
        {
            case NexthopKind.Group:
                return IsAnyAlive(r) ? NexthopWord.Group(r.FirstMember, r.MemberCount) : NexthopWord.Punt(PuntReason.LinkDown);
            case NexthopKind.Single:
                break;
            default:
                return NexthopWord.Punt(r.Reason);
        }

        if (!IsAlive(r))
        {
            return NexthopWord.Punt(PuntReason.LinkDown);
        }

        _interfaces.TryGet(r.IfIndex, out InterfaceRecord i);
        if (i.PortId == InterfaceRecord.NoPort)
        {
            return NexthopWord.Punt(PuntReason.EgressNotAPort);
        }

        if (_egressDemoted(r.IfIndex))
        {
            return NexthopWord.Punt(PuntReason.Demoted);
        }

        uint mtu = r.Mtu != 0 ? r.Mtu : i.Mtu;
        if (r.Gateway.IsNone)
        {
            return NexthopWord.OnLink(r.IfIndex, mtu);
        }

        int adjacency = _neighbours.AdjacencyOf(new NeighbourKey(r.IfIndex, r.Gateway));
        return adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, mtu);
    }

    private bool IsAlive(in NexthopRecord r) =>
        r.Kind switch
        {
            NexthopKind.Single => (r.Flags & NexthopSpec.Dead) == 0 && _interfaces.TryGet(r.IfIndex, out InterfaceRecord i) && i.IsUp
                && ((r.Flags & NexthopSpec.LinkDown) == 0 || i.IgnoreRoutesWithLinkdown == 0),
            _ => true, // a group in a group isn't Linux's; a worker that meets one punts
        };

    private bool IsAnyAlive(in NexthopRecord r)
    {
        for (int i = r.FirstMember; i < r.FirstMember + r.MemberCount; i++)
        {
            if (IsAlive(_records[_members[i].Nexthop]))
            {
                return true;
            }
        }

        return false;
    }

    private IEnumerable<GroupMember> MembersOf(NexthopRecord r)
    {
        for (int i = 0; i < r.MemberCount; i++)
        {
            yield return Member(r.FirstMember + i);
        }
    }

    private GroupMember Member(int i) => _members[i];

    /// <summary>
    /// Lays out a new run of members: the living share the 32-bit hash space by weight (fib_rebalance in
    /// net/ipv4/fib_semantics.c); the dead stand behind them, where no hash reaches. Reserved keeps the configured order.
    /// </summary>
    private bool TryMakeGroup(List<(int Member, uint Weight)> members, ref NexthopRecord r)
    {
        int first = members.Any(m => m.Member == None) ? -1 : _memberRuns.Allocate(members.Count);
        if (first < 0)
        {
            return false;
        }

        int at = first;
        ulong total = 0, sum = 0;
        foreach ((int member, uint weight) in members.Where(m => IsAlive(_records[m.Member])))
        {
            total += Math.Max(1, weight);
        }

        for (int pass = 0; pass < 2; pass++)
        {
            for (int order = 0; order < members.Count; order++)
            {
                (int member, uint weight) = members[order];
                if (IsAlive(_records[member]) == (pass == 0))
                {
                    sum += pass == 0 ? Math.Max(1, weight) : 0;
                    uint bound = total == 0 || sum == total ? uint.MaxValue : (uint)((sum << 32) / total) - 1;
                    _members[at++] = new GroupMember { UpperBound = bound, Nexthop = member, Weight = weight, Reserved = (uint)order };
                }
            }
        }

        Interlocked.MemoryBarrier(); // whole before the word that names it is stored
        r.FirstMember = first;
        r.MemberCount = (ushort)members.Count;
        return true;
    }

    private void RebuildGroup(int n)
    {
        NexthopRecord r = _records[n];
        if (r.Kind != NexthopKind.Group)
        {
            return;
        }

        NexthopRecord rebuilt = r;
        List<(int, uint)> members = [.. MembersOf(r).OrderBy(m => m.Reserved).Select(m => (m.Nexthop, m.Weight))];
        if (!TryMakeGroup(members, ref rebuilt))
        {
            SetWord(n, NexthopWord.Punt(PuntReason.TableFull));
            return;
        }

        _records.Write(n, rebuilt);
        SetWord(n, WordOf(rebuilt));
        DropMembers(r);
    }

    private void DropMembers(NexthopRecord r) => _reclaimer.Retire(() => _memberRuns.Free(r.FirstMember, r.MemberCount));

    private void Recompute(HashSet<int>? nexthops)
    {
        foreach (int n in nexthops?.ToList() ?? [])
        {
            SetWord(n, WordOf(_records[n]));
            foreach (int group in _groupsOf.GetValueOrDefault(n)?.ToList() ?? [])
            {
                if (NeedsRebuild(group))
                {
                    RebuildGroup(group);
                }
            }
        }
    }

    /// <summary>Whether the members alive now are others than those that share the hash space.</summary>
    private bool NeedsRebuild(int group)
    {
        NexthopRecord r = _records[group];
        bool sharing = new NexthopWord(_words[group]).Action == NexthopAction.Group;
        foreach (GroupMember m in MembersOf(r))
        {
            if (sharing != IsAlive(_records[m.Nexthop]))
            {
                return true;
            }

            sharing &= m.UpperBound != uint.MaxValue; // the last that a hash can reach
        }

        return false;
    }

    private void SetWord(int n, NexthopWord word)
    {
        Volatile.Write(ref _words[n], word.Value);
        if (n == _default && n != None)
        {
            Volatile.Write(ref _words[0], word.Value);
        }
    }

    private void Index(int n)
    {
        NexthopRecord r = _records[n];
        if (r.Kind == NexthopKind.Single)
        {
            Add(_byInterface, r.IfIndex, n);
            if (!r.Gateway.IsNone)
            {
                Add(_byGateway, new NeighbourKey(r.IfIndex, r.Gateway), n);
            }
        }
        else if (r.Kind == NexthopKind.Group)
        {
            foreach (GroupMember m in MembersOf(r))
            {
                Add(_groupsOf, m.Nexthop, n);
            }
        }
    }

    private void Unindex(int n)
    {
        NexthopRecord r = _records[n];
        if (r.Kind == NexthopKind.Single)
        {
            Remove(_byInterface, r.IfIndex, n);
            if (!r.Gateway.IsNone)
            {
                Remove(_byGateway, new NeighbourKey(r.IfIndex, r.Gateway), n);
            }
        }
        else if (r.Kind == NexthopKind.Group)
        {
            foreach (GroupMember m in MembersOf(r))
            {
                Remove(_groupsOf, m.Nexthop, n);
            }
        }
    }

    private static void Add<TKey>(Dictionary<TKey, HashSet<int>> index, TKey key, int n)
        where TKey : notnull
    {
        if (!index.TryGetValue(key, out HashSet<int>? set))
        {
            index[key] = set = [];
        }

        set.Add(n);
    }

    private static void Remove<TKey>(Dictionary<TKey, HashSet<int>> index, TKey key, int n)
        where TKey : notnull
    {
        if (index.TryGetValue(key, out HashSet<int>? set) && set.Remove(n) && set.Count == 0)
        {
            index.Remove(key);
        }
    }

    /// <summary>Index 0 is the default and never a nexthop of its own. References are taken again by routes and groups.</summary>
    private void Restore()
    {
        if (!_records.IsUsed(0))
        {
            _records.Write(_records.Allocate(), new NexthopRecord { Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
        }

        List<(int Slot, NexthopRecord Value)> all = [.. _records.Reader.All().Where(r => r.Slot > 0)];
        foreach ((int n, NexthopRecord r) in all)
        {
            if (r.Kind == NexthopKind.Group)
            {
                _memberRuns.Reserve(r.FirstMember, r.MemberCount);
                if (MembersOf(r).Any(m => !IsUsed(m.Nexthop)))
                {
                    _records.Write(n, new NexthopRecord { ObjectId = r.ObjectId, Mtu = r.Mtu, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
                }
            }
        }

        foreach ((int n, _) in all)
        {
            NexthopRecord r = _records[n];
            if (r.ObjectId != 0)
            {
                _objects[(r.ObjectId, r.Mtu)] = n;
                _references[n] += r.Generation != 0 && r.Mtu == 0 ? 1 : 0;
            }
            else if (r.Kind == NexthopKind.Group)
            {
                _groups[KeyOf(r)] = n;
            }
            else
            {
                _singles[SpecOf(r)] = n;
            }

            if (r.Kind == NexthopKind.Group)
            {
                foreach (GroupMember m in MembersOf(r))
                {
                    _references[m.Nexthop]++;
                }
            }

            Index(n);
        }

        foreach ((int n, _) in all)
        {
            SetWord(n, WordOf(_records[n]));
        }
    }
}
