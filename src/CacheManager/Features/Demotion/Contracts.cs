using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>What a detector may know of an interface.</summary>
/// <param name="Index">ifindex</param>
/// <param name="Kind">IFLA_INFO_KIND, empty for hardware and lo.</param>
/// <param name="Flags">IFF_*</param>
/// <param name="Master">ifindex, 0 when none.</param>
/// <param name="Forwarding">net.ipv4.conf.IF.forwarding</param>
/// <param name="RpFilter">Effective: max(conf.all, conf.IF).</param>
/// <param name="Link">ifindex of the interface below (IFLA_LINK), 0 when none.</param>
/// <param name="Forwarding6">What it receives of IPv6 is forwarded.</param>
/// <param name="ProxyNdp">net.ipv6.conf.IF.proxy_ndp is in force.</param>
public sealed record InterfaceInfo(
    uint Index, string Name, string Kind, uint Flags, uint Master, bool Forwarding, uint RpFilter, uint Link, bool Forwarding6 = true, bool ProxyNdp = false);

/// <summary>Address families, as the bits of Demotion.families.</summary>
[Flags]
public enum Families : uint
{
    None = 0,
    Ipv4 = 1,
    Ipv6 = 2,
    Both = 3,
}

/// <summary>Where detectors tell what the fast path does not honour. Any thread may call; repeating changes nothing.</summary>
public interface IDemotionSink
{
    /// <summary>Begins a demotion, or changes the one of the same object.</summary>
    /// <param name="object">As its own tool names it: "nft chain ip filter FORWARD", "ip rule 100", "r0 rp_filter".</param>
    /// <param name="reason">One sentence: what it would do and why it is Linux's for now.</param>
    /// <param name="effect">What is passed to Linux because of it.</param>
    /// <param name="ifindex">For effects on one interface, else 0.</param>
    /// <param name="families">What of the traffic it concerns.</param>
    void Raise(string @object, string reason, DemotionEffect effect, uint ifindex, Families families);

    /// <summary>Ends it; ending what does not exist succeeds.</summary>
    void End(string @object);
}

/// <summary>
/// Watches one source of kernel state. Start may take its first look on the caller's thread: what it raises before it
/// returns is part of the first synchronization, so that nothing is ever forwarded past it.
/// </summary>
public interface IDetector
{
    /// <summary>For logs: "netfilter", "xfrm", "rule".</summary>
    string Name { get; }

    /// <param name="sink">For life, from any thread.</param>
    /// <param name="interfaces">The interfaces as last published; a snapshot, cheap to ask for.</param>
    void Start(IDemotionSink sink, Func<IReadOnlyCollection<InterfaceInfo>> interfaces);

    /// <summary>The set of interfaces, or something InterfaceInfo tells, has changed. Called on cmgrd's worker: return quickly.</summary>
    void InterfacesChanged()
    {
    }
}
