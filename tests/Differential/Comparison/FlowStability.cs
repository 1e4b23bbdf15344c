namespace FastPathSync.Differential;

/// <summary>
/// A flow keeps its way while nothing changes. The kernel is the judge of what a flow is: only where all its packets of one
/// key took one way must ours have.
/// </summary>
internal sealed class FlowStability
{
    private readonly Dictionary<string, (HashSet<string> Kernel, HashSet<string> Product, List<Probe> Probes)> _flows = [];

    /// <param name="addressesOnly">fib_multipath_hash_policy is 0 and no rule asks for ports: a flow is a pair of addresses.</param>
    public void Note(IReadOnlyList<Probe> probes, List<Emission> kernel, List<Emission> product, bool addressesOnly)
    {
        foreach (Probe probe in probes)
        {
            if (Key(probe.Frame, addressesOnly) is not string key)
            {
                continue;
            }

            key = $"{probe.Port} {key}";
            if (!_flows.TryGetValue(key, out var flow))
            {
                _flows[key] = flow = ([], [], []);
            }

            bool seen = Note(flow.Kernel, kernel, probe) & Note(flow.Product, product, probe);
            if (seen)
            {
                flow.Probes.Add(probe);
            }
        }
    }

    /// <summary>Flows that went several ways through the product and one through the kernel.</summary>
    public IEnumerable<(IReadOnlyList<Probe> Probes, string Ways)> Violations() =>
        _flows.Values.Where(f => f.Kernel.Count == 1 && f.Product.Count > 1).Select(f => ((IReadOnlyList<Probe>)f.Probes, string.Join(" and ", f.Product)));

    public void Clear() => _flows.Clear();

    private static bool Note(HashSet<string> ways, List<Emission> emissions, Probe probe)
    {
        bool seen = false;
        foreach (Emission e in emissions)
        {
            // Forwarded, not quoted in an answer: the addresses are still the packet's.
            if (probe.Marks(e.Bytes) && Addresses(e.Bytes).SequenceEqual(Addresses(probe.Frame)))
            {
                ways.Add($"p{e.Port} {Hosts.Text(e.Bytes.AsSpan(0, 6))}");
                seen = true;
            }
        }

        return seen;
    }

    private static ReadOnlySpan<byte> Addresses(byte[] f) => f.Length < 54 ? [] : f[12] == 8 ? f.AsSpan(26, 8) : f.AsSpan(22, 32);

    private static string? Key(byte[] f, bool addressesOnly)
    {
        if (f.Length < 54)
        {
            return null;
        }

        if (f[12] == 8 && f[13] == 0 && f[14] == 0x45 && f[23] is 6 or 17)
        {
            bool fragment = ((f[20] & 0x3f) | f[21]) != 0;
            return addressesOnly ? $"{f[15]} {Hex(f, 26, 8)}" : fragment ? null : $"{f[15]} {f[23]} {Hex(f, 26, 12)}";
        }

        // Traffic class, flow label, next header, addresses; the ports stand behind.
        return f[12] == 0x86 && f[13] == 0xdd && f[20] is 6 or 17 && f.Length >= 58 ? $"{Hex(f, 14, 4)} {f[20]} {Hex(f, 22, addressesOnly ? 32 : 36)}" : null;
    }

    private static string Hex(byte[] f, int at, int length) => Convert.ToHexString(f, at, length);
}
