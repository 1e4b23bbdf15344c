using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>What a prefix table is compiled into.</summary>
internal interface IPrefixFib
{
    /// <summary>Puts or replaces a prefix's nexthop. False: no room, nothing done.</summary>
    bool TrySet(uint destination, int length, int nexthop, bool added);

    void Remove(uint destination, int length, PrefixTable table);

    /// <summary>At its first address at least, the prefix (or a longer one) is looked up as it should be.</summary>
    bool Holds(uint destination, int length, int nexthop);

    /// <summary>Makes it what the table says, touching only what differs; a prefix without room is taken back from the table.</summary>
    /// <returns>How many entries were wrong.</returns>
    int Mend(PrefixTable table, out bool complete);
}

/// <summary>Local and main as one table in DIR-24-8; 0.0.0.0/0 is nexthop 0 (ADR 0002).</summary>
internal sealed unsafe class MergedFib(Fib4Writer fib, NexthopStore nexthops) : IPrefixFib
{
    public bool TrySet(uint destination, int length, int nexthop, bool added)
    {
        if (length > 0)
        {
            return fib.TrySet(destination, length, nexthop, added);
        }

        nexthops.SetDefault(nexthop);
        return true;
    }

    public void Remove(uint destination, int length, PrefixTable table)
    {
        if (length > 0)
        {
            fib.Remove(destination, length, table.ParentEntry(destination, length));
        }
        else
        {
            nexthops.SetDefault(NexthopStore.None);
        }
    }

    public bool Holds(uint destination, int length, int nexthop) => length == 0 || fib.Holds(destination, length, nexthop);

    public int Mend(PrefixTable table, out bool complete)
    {
        using Linux.MemoryMapping scratch = Linux.MemoryMapping.Anonymous(Fib4Segment.BodyLength, 0, "fib scratch");
        uint* table24 = (uint*)scratch.Address;
        uint* groups = (uint*)(scratch.Address + (4 << 24));
        uint[] use = new uint[Capacities.Fib4Groups];
        int best = NexthopStore.None;
        fixed (uint* groupUse = use)
        {
            Fib4Writer desired = new(table24, groups, groupUse, Capacities.Fib4Groups, new Reclaimer(new NoWorkers()));
            complete = table.Recompile((destination, length, nexthop) =>
            {
                best = length == 0 ? nexthop : best;
                return length == 0 || desired.TrySet(destination, length, nexthop, added: true);
            });
            nexthops.SetDefault(best);
            int mended = fib.PatchFrom(new Fib4Reader(table24, groups), g => use[g], out bool room);
            complete &= room;
            return mended;
        }
    }

    /// <summary>Nobody reads a table of our own.</summary>
    private sealed class NoWorkers : IWorkerSet
    {
        public void Refresh()
        {
        }

        public void Snapshot(Dictionary<int, ulong> quiescent) => quiescent.Clear();
    }
}

/// <summary>In a VRF without ports: local and main as one table in a trie of a few pages; 0.0.0.0/0 is nexthop 0 here too.</summary>
internal sealed class SmallFib(FibTrieWriter tries, int root, NexthopStore nexthops) : IPrefixFib
{
    private readonly TrieFib _trie = new(tries, root);

    public bool TrySet(uint destination, int length, int nexthop, bool added)
    {
        if (length > 0)
        {
            return _trie.TrySet(destination, length, nexthop, added);
        }

        nexthops.SetDefault(nexthop);
        return true;
    }

    public void Remove(uint destination, int length, PrefixTable table)
    {
        if (length > 0)
        {
            _trie.Remove(destination, length, table);
        }
        else
        {
            nexthops.SetDefault(NexthopStore.None);
        }
    }

    public bool Holds(uint destination, int length, int nexthop) => length == 0 || _trie.Holds(destination, length, nexthop);

    public int Mend(PrefixTable table, out bool complete)
    {
        int mended = _trie.Mend(table, out complete, shortest: 1);
        nexthops.SetDefault(table.NexthopOf(0, 0));
        return mended;
    }
}

/// <summary>One table by itself, as policy rules look it up.</summary>
internal sealed class TrieFib(FibTrieWriter tries, int root) : IPrefixFib
{
    public int Root => root;

    public bool TrySet(uint destination, int length, int nexthop, bool added) => tries.TrySet(root, FibKey.Ipv4(destination), length, nexthop);

    public void Remove(uint destination, int length, PrefixTable table)
    {
        if (!tries.TryRemove(root, FibKey.Ipv4(destination), length))
        {
            // No room even to take something out: until there is, the prefix is Linux's.
            tries.TrySet(root, FibKey.Ipv4(destination), length, table.PuntFull);
        }
    }

    public bool Holds(uint destination, int length, int nexthop) => tries.Get(root, FibKey.Ipv4(destination), length) == nexthop;

    public int Mend(PrefixTable table, out bool complete) => Mend(table, out complete, shortest: 0);

    /// <param name="table">What is wanted.</param>
    /// <param name="complete">Everything found room.</param>
    /// <param name="shortest">Prefixes shorter than this don't stand in the trie.</param>
    public int Mend(PrefixTable table, out bool complete, int shortest)
    {
        table.Recompile((_, _, _) => true);
        int mended = tries.Mend(root, table.Compiled().Where(p => p.Length >= shortest), (prefix, length) => table.NexthopOf((uint)(prefix.High >> 32), length), out complete);
        if (!complete)
        {
            table.Recompile((destination, length, _) => length < shortest || tries.Get(root, FibKey.Ipv4(destination), length) != NexthopStore.None);
        }

        return mended;
    }
}
