using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>What IPv4's merged main table is compiled into. 0.0.0.0/0 never comes here: an entry of 0 means nexthop 0, the default.</summary>
public interface IFib4
{
    /// <summary>Puts or replaces the nexthop of a prefix. False when there is no room.</summary>
    /// <param name="added">True when the prefix was not there before.</param>
    bool TrySet(uint prefix, int length, int nexthop, bool added);

    /// <summary>Takes a prefix away; <paramref name="parent"/> is the entry of the longest shorter prefix over it, or 0.</summary>
    void Remove(uint prefix, int length, uint parent);
}

/// <summary>In a VRF without ports: a trie of a few pages in place of DIR-24-8.</summary>
internal sealed class Fib4Trie(FibTrieWriter tries) : IFib4
{
    private readonly int _slot = tries.Open(FibFamily.Ipv4, RouteStore.TableMain);

    public bool TrySet(uint prefix, int length, int nexthop, bool added) => tries.TrySet(_slot, FibKey.Ipv4(prefix), length, nexthop);

    public void Remove(uint prefix, int length, uint parent) => _ = tries.TryRemove(_slot, FibKey.Ipv4(prefix), length);

    /// <summary>Makes it hold exactly these.</summary>
    /// <returns>How many were wrong.</returns>
    public int Mend(Dictionary<(FibKey, int), int> wanted, out bool complete) =>
        tries.Mend(_slot, wanted.Keys, (key, length) => wanted[(key, length)], out complete);
}
