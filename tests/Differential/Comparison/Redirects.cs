namespace FastPathSync.Differential;

/// <summary>
/// ICMP redirects: ip_rt_send_redirect sends a host the first one, and further ones only after pauses that grow with each
/// (20 ms and more). So whether one that follows another is sent is a matter of milliseconds; the first one is not.
/// </summary>
internal sealed class Redirects
{
    /// <summary>Hosts that have had a redirect, by side.</summary>
    private readonly HashSet<string>[] _told = [[], []];

    public void Note(Side side, IEnumerable<Emission> emissions) => _told[(int)side].UnionWith(emissions.Where(Is).Select(Host));

    /// <summary>Takes out redirects to hosts that have had one from both routers.</summary>
    public Comparison WithoutRepeated(Comparison found) => new(
        [.. found.OnlyKernel.Where(e => !Repeated(e))],
        [.. found.OnlyProduct.Where(e => !Repeated(e))]);

    private bool Repeated(Emission e) => Is(e) && _told[0].Contains(Host(e)) && _told[1].Contains(Host(e));

    public static bool Is(Emission e) =>
        (e.Bytes.Length > 34 && e.Bytes[12] == 8 && e.Bytes[13] == 0 && e.Bytes[23] == 1 && e.Bytes[34] == 5)
        || (e.Bytes.Length > 54 && e.Bytes[12] == 0x86 && e.Bytes[20] == 58 && e.Bytes[54] == 137);

    private static string Host(Emission e) => e.Bytes[12] == 8 ? Convert.ToHexString(e.Bytes, 30, 4) : Convert.ToHexString(e.Bytes, 38, 16);
}
