namespace FastPathSync.Differential;

/// <summary>
/// ICMP redirects: ip_rt_send_redirect sends a host the first one, and further ones only after pauses that grow with each
/// (20 ms and more). ip6_forward and ndisc_send_redirect look at an allowance that the host, and the destination, share with all
/// ICMPv6 errors to them: without a rate limit (Baseline) every error uses it up for a second (inet_peer_xrlim_allow). So whether
/// one that follows is sent is a matter of milliseconds; the first one is not.
/// </summary>
internal sealed class Redirects
{
    /// <summary>Who has had a redirect, and IPv6 destinations that one was about, by side.</summary>
    private readonly HashSet<string>[] _told = [[], []];

    /// <summary>Who has had an ICMPv6 error from either.</summary>
    private readonly HashSet<string> _answered = [];

    public void Note(Side side, IReadOnlyList<Emission> emissions)
    {
        _told[(int)side].UnionWith(emissions.Where(Is).SelectMany(Peers));
        _answered.UnionWith(emissions.Where(IsError6).Select(e => Convert.ToHexString(e.Bytes, 38, 16)));
    }

    /// <summary>Takes out redirects that may have met a limit.</summary>
    public Comparison WithoutRepeated(Comparison found) => new(
        [.. found.OnlyKernel.Where(e => !MayBeLimited(e))],
        [.. found.OnlyProduct.Where(e => !MayBeLimited(e))]);

    public static bool Is(Emission e) =>
        (e.Bytes.Length > 34 && e.Bytes[12] == 8 && e.Bytes[13] == 0 && e.Bytes[23] == 1 && e.Bytes[34] == 5)
        || (e.Bytes.Length >= 94 && e.Bytes[12] == 0x86 && e.Bytes[20] == 58 && e.Bytes[54] == 137);

    private static bool IsError6(Emission e) => e.Bytes.Length > 54 && e.Bytes[12] == 0x86 && e.Bytes[20] == 58 && e.Bytes[54] is >= 1 and <= 4;

    private bool MayBeLimited(Emission e) => Is(e) && Peers(e).Any(p => (_told[0].Contains(p) && _told[1].Contains(p)) || _answered.Contains(p));

    /// <summary>What Linux counts it by: the host that is told, of IPv6 the destination too.</summary>
    private static string[] Peers(Emission e) => e.Bytes[12] == 8
        ? [Convert.ToHexString(e.Bytes, 30, 4)]
        : [Convert.ToHexString(e.Bytes, 38, 16), Convert.ToHexString(e.Bytes, 78, 16)];
}
