using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>
/// Nexthops of both families: those that live in routes (shared by what they say) and nexthop objects (by id). Each has a
/// record and the word that workers obey; whatever the word depends on (neighbour, interface, demotion, members) calls
/// back here. Users count their references. Who finds the table full is given a nexthop that punts for that reason:
/// its routes are there, and Linux forwards them.
/// </summary>
public sealed unsafe class NexthopStore
{
    public const int None = 0;

    private readonly RecordTableWriter<NexthopRecord> _records;
    private readonly ulong* _published;
    private readonly GroupLayout _layout;
    private readonly NexthopWords _words;
    private readonly NexthopObjects _objects;
    private readonly NexthopIndex _index = new();
    private readonly Reclaimer _reclaimer;

    private readonly ReferenceCounts _references;
    private readonly Dictionary<NexthopSpec, int> _singles = [];
    private readonly Dictionary<GroupKey, int> _groups = [];
    private readonly HashSet<int> _unbuilt = []; // groups that found no room for their members
    private readonly int _full;
    private int _default;
    private bool _lacking;

    public NexthopStore(
        ConfigurationSegments segments, InterfaceStore interfaces, NeighbourStore neighbours, Reclaimer reclaimer, Func<uint, bool> egressDemoted)
    {
        _records = new RecordTableWriter<NexthopRecord>(NexthopSegment.Records(segments.Nexthop), segments.Nexthop.Capacity);
        _published = NexthopSegment.Words(segments.Nexthop);
        _layout = new GroupLayout(NexthopSegment.Members(segments.Nexthop), segments.Nexthop.Capacity, reclaimer);
        _references = new ReferenceCounts(segments.Nexthop.Capacity);
        _words = new NexthopWords(_records, _layout, interfaces, neighbours, egressDemoted);
        _objects = new NexthopObjects(this);
        _reclaimer = reclaimer;
        Restore();
        _full = Acquire(NexthopSpec.Punt(PuntReason.TableFull));
        neighbours.Changed = key => Recompute(_index.Through(key));
    }

    internal NexthopRecord this[int nexthop] => _records[nexthop];

    public bool IsDead(int nexthop) =>
        _records[nexthop].Kind == NexthopKind.Single && (_records[nexthop].Flags & NexthopSpec.Dead) != 0;

    /// <summary>Linux's in any case, whatever becomes of interfaces and neighbours.</summary>
    public bool IsPunt(int nexthop) => _records[nexthop].Kind == NexthopKind.Punt;

    public bool IsUsed(int nexthop) => nexthop > 0 && _records.IsUsed(nexthop);

    /// <summary>Whether somebody was refused a nexthop or the room for a group's members since the last call.</summary>
    public bool TakeLack()
    {
        bool lacking = _lacking;
        _lacking = false;
        return lacking;
    }

    /// <summary>A reference to the nexthop that says this, made if need be.</summary>
    public int Acquire(in NexthopSpec spec)
    {
        if (!_singles.TryGetValue(spec, out int n))
        {
            n = Add(spec.ToRecord());
            if (n == None)
            {
                return Full();
            }

            _singles[spec] = n;
        }

        _references[n]++;
        return n;
    }

    /// <summary>A reference to the nexthop object, as routes with this MTU and family use it. An object not yet heard of punts.</summary>
    public int AcquireObject(uint id, uint mtu, byte family = NexthopSpec.Ipv4) => _objects.Acquire(id, mtu, family);

    /// <summary>A reference to a group; takes over the callers' references to its members.</summary>
    public int AcquireGroup(List<(int Member, uint Weight)> members)
    {
        GroupKey key = GroupKey.Of(members);
        if (_groups.TryGetValue(key, out int n))
        {
            members.ForEach(m => Release(m.Member));
            _references[n]++;
            return n;
        }

        NexthopRecord r = new() { Kind = NexthopKind.Group, Family = _records[members[0].Member].Family };
        if (!TryLayOut(members, ref r) || (n = Add(r)) == None)
        {
            _layout.Drop(r);
            members.ForEach(m => Release(m.Member));
            return Full();
        }

        _groups[key] = n;
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
        GroupMember[] members = [.. _layout.Of(r)];
        Unindex(nexthop);
        _unbuilt.Remove(nexthop);
        if (r.ObjectId != 0)
        {
            _objects.Forget(nexthop);
        }
        else if (r.Kind == NexthopKind.Group)
        {
            _groups.Remove(GroupKey.Of(_layout.Configured(r)));
        }
        else
        {
            _singles.Remove(NexthopSpec.Of(r));
        }

        _layout.Drop(r);
        foreach (GroupMember m in members)
        {
            Release(m.Nexthop);
        }

        _reclaimer.Retire(() => _records.Free(nexthop));
    }

    /// <summary>What happens to addresses that no prefix but 0.0.0.0/0 covers: as this nexthop says, now and later.</summary>
    public void SetDefault(int nexthop)
    {
        _default = nexthop;
        Volatile.Write(ref _published[0], nexthop == None ? NexthopWord.Punt(PuntReason.NoRoute).Value : _published[nexthop]);
    }

    /// <summary>Makes every word what its record says now.</summary>
    /// <returns>How many were wrong.</returns>
    public int Repair()
    {
        int wrong = 0;
        foreach ((int n, NexthopRecord r) in _records.Reader.All().Where(r => r.Slot > 0 && _references[r.Slot] > 0).ToList())
        {
            NexthopWord word = _words.Of(r);
            wrong += word.Value == _published[n] ? 0 : 1;
            Publish(n, word);
        }

        return wrong;
    }

    public void InterfaceChanged(uint ifindex) => Recompute(_index.LeavingBy(ifindex));

    /// <summary>net.ipv4.fib_multipath_use_neigh</summary>
    public void HeedNeighbours(bool heed)
    {
        if (_words.HeedNeighbours != heed)
        {
            _words.HeedNeighbours = heed;
            Relayout(_groups.Values);
        }
    }

    /// <summary>Groups that found no room try again.</summary>
    public void Heal()
    {
        foreach (int group in _unbuilt.ToList())
        {
            Rebuild(group);
        }
    }

    /// <summary>A nexthop object was made or changed: all who use it follow at once.</summary>
    public void UpsertObject(Wire.Nexthop wire, ulong generation) => _objects.Upsert(wire, generation);

    /// <summary>Routes that still name a deleted object punt until their own end is announced.</summary>
    public void RemoveObject(uint id) => _objects.Remove(id);

    public int SweepObjects(ulong generation) => _objects.Sweep(generation);

    /// <summary>After a restart, once every route has taken its references: what nobody refers to is freed.</summary>
    public void FreeUnreferenced()
    {
        foreach ((int n, NexthopRecord r) in _records.Reader.All().Where(r => r.Slot > 0 && _references[r.Slot] == 0).ToList())
        {
            _references[n] = 1;
            Release(n);
        }
    }

    /// <summary>A nexthop without references; None when the table is full.</summary>
    internal int Add(in NexthopRecord r)
    {
        int n = _records.Allocate();
        if (n < 0)
        {
            return None;
        }

        _records.Write(n, r);
        Index(n);
        Publish(n, _words.Of(r));
        return n;
    }

    /// <summary>What there is no room for: a reference to a nexthop that punts for that reason.</summary>
    internal int Full()
    {
        _lacking = true;
        _references[_full]++;
        return _full;
    }

    internal List<(int Member, uint Weight)> MembersOf(int group) => _layout.Configured(_records[group]);

    internal int[] BucketsOf(int group) => _layout.BucketsOf(_records[group]);

    internal bool TryLayOut(IReadOnlyList<(int Member, uint Weight)> members, ref NexthopRecord r, IReadOnlyList<int>? buckets = null)
    {
        bool room = r.Kind == NexthopKind.ResilientGroup
            ? _layout.TryMakeResilient(members, buckets ?? [], ref r)
            : _layout.TryMake(members, _words.IsAlive, _words.Sharing(r, members.Select(m => m.Member)), ref r);
        _lacking |= !room;
        return room;
    }

    /// <summary>Replaces what a nexthop says, keeping its index and its users.</summary>
    internal void Rewrite(int n, in NexthopRecord r)
    {
        NexthopRecord old = _records[n];
        GroupMember[] oldMembers = [.. _layout.Of(old)];
        Unindex(n);
        _records.Write(n, r);
        Index(n);
        Publish(n, _words.Of(r));
        _index.GroupsOf(n).ForEach(Rebuild);
        _layout.Drop(old);
        foreach (GroupMember m in oldMembers)
        {
            Release(m.Nexthop);
        }
    }

    private void Rebuild(int group)
    {
        NexthopRecord r = _records[group], rebuilt = r;
        if (r.Kind != NexthopKind.Group)
        {
            return; // only the kernel moves the buckets of a resilient group
        }

        if (!TryLayOut(MembersOf(group), ref rebuilt))
        {
            _unbuilt.Add(group);
            Publish(group, NexthopWord.Punt(PuntReason.TableFull));
            return;
        }

        _unbuilt.Remove(group);
        _records.Write(group, rebuilt);
        Publish(group, _words.Of(rebuilt));
        _layout.Drop(r);
    }

    private void Recompute(List<int> nexthops)
    {
        foreach (int n in nexthops)
        {
            Publish(n, _words.Of(_records[n]));
            Relayout(_index.GroupsOf(n));
        }
    }

    private void Relayout(IEnumerable<int> groups)
    {
        foreach (int group in groups)
        {
            NexthopRecord r = _records[group];
            if (r.Kind == NexthopKind.Group && _layout.IsOutdated(
                r, new NexthopWord(_published[group]).Action == NexthopAction.Group, _words.Sharing(r, MembersOf(group).Select(m => m.Member))))
            {
                Rebuild(group);
            }
        }
    }

    private void Publish(int n, NexthopWord word)
    {
        Volatile.Write(ref _published[n], word.Value);
        if (n == _default && n != None)
        {
            Volatile.Write(ref _published[0], word.Value);
        }
    }

    private void Index(int n) => _index.Add(n, _records[n], _layout.Of(_records[n]));

    private void Unindex(int n) => _index.Remove(n, _records[n], _layout.Of(_records[n]));

    /// <summary>Index 0 is the default and never a nexthop of its own. References are taken again by routes and groups.</summary>
    private void Restore()
    {
        if (!_records.IsUsed(0))
        {
            _records.Write(_records.Allocate(), new NexthopRecord { Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
        }

        List<int> all = [.. _records.Reader.All().Select(r => r.Slot).Where(slot => slot > 0)];
        foreach (int n in all)
        {
            NexthopRecord r = _records[n];
            if (r.MemberCount > 0)
            {
                _layout.Reserve(r);
                if (MembersOf(n).Any(m => !IsUsed(m.Member)) || BucketsOf(n).Any(b => !IsUsed(b)))
                {
                    _records.Write(n, new NexthopRecord { ObjectId = r.ObjectId, Mtu = r.Mtu, Family = r.Family, Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute });
                }
            }
        }

        foreach (int n in all)
        {
            NexthopRecord r = _records[n];
            if (r.ObjectId != 0)
            {
                _objects.Restore(n);
            }
            else if (r.Kind == NexthopKind.Group)
            {
                _groups[GroupKey.Of(_layout.Configured(r))] = n;
            }
            else
            {
                _singles[NexthopSpec.Of(r)] = n;
            }

            foreach (GroupMember m in _layout.Of(r))
            {
                _references[m.Nexthop]++;
            }

            Index(n);
        }

        all.ForEach(n => Publish(n, _words.Of(_records[n])));
    }
}
