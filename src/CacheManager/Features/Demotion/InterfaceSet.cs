using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>The interfaces of the namespace as cmgrd knows them at the moment of a look, found by index or by name.</summary>
internal sealed class InterfaceSet
{
    /// <summary>The product's own device for exceptions: its tc program is ours, and it receives nothing from outside.</summary>
    private const string OwnDevice = "fpn0";

    private readonly Dictionary<uint, InterfaceInfo> _byIndex = [];

    public InterfaceSet(IReadOnlyCollection<InterfaceInfo> all)
    {
        HashCode content = default;
        foreach (InterfaceInfo i in all)
        {
            content.Add(i);
            _byIndex[i.Index] = i;
        }

        Fingerprint = content.ToHashCode();
    }

    /// <summary>Changes with anything that is known of them.</summary>
    public int Fingerprint { get; }

    /// <summary>Those through which forwarded packets can pass.</summary>
    public IEnumerable<InterfaceInfo> Forwarding => _byIndex.Values.Where(Forwards);

    public bool TryFind(uint ifindex, out InterfaceInfo found) => _byIndex.TryGetValue(ifindex, out found!) && Forwards(found);

    /// <summary>Of any kind; for looking up masters.</summary>
    public string NameOf(uint ifindex) => _byIndex.TryGetValue(ifindex, out InterfaceInfo? i) ? i.Name : $"if{ifindex}";

    private static bool Forwards(InterfaceInfo i) => i.Name != OwnDevice && (i.Flags & LinkConstants.IFF_LOOPBACK) == 0;
}
