using System.Globalization;

namespace FastPathSync.Differential;

/// <summary>What a kernel says it did with packets: /proc/net/snmp and snmp6.</summary>
internal sealed record KernelCounters(ulong Forwarded, ulong Delivered, ulong Dropped, ulong Received)
{
    public static KernelCounters Read(LabNamespace ns)
    {
        // thread-self: /proc/net would be that of the main thread.
        (string[] v4, string[] v6) = ns.Inside(() => (File.ReadAllLines("/proc/thread-self/net/snmp"), File.ReadAllLines("/proc/thread-self/net/snmp6")));
        string[][] ip = [.. v4.Where(l => l.StartsWith("Ip:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
        Dictionary<string, ulong> counters = ip[0].Skip(1).Zip(ip[1].Skip(1), (k, v) => (Key: "Ip" + k, Value: ulong.Parse(v, CultureInfo.InvariantCulture))).ToDictionary(c => c.Key, c => c.Value);
        foreach (string[] words in v6.Select(l => l.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)))
        {
            counters[words[0]] = ulong.Parse(words[1], CultureInfo.InvariantCulture);
        }

        ulong Sum(params ReadOnlySpan<string> names)
        {
            ulong sum = 0;
            foreach (string name in names)
            {
                sum += counters.GetValueOrDefault("Ip" + name) + counters.GetValueOrDefault("Ip6" + name);
            }

            return sum;
        }

        return new KernelCounters(
            Sum("ForwDatagrams", "OutForwDatagrams"), Sum("InDelivers"),
            Sum("InHdrErrors", "InAddrErrors", "InUnknownProtos", "InDiscards", "InNoRoutes", "InTruncatedPkts", "InTooBigErrors", "OutNoRoutes", "OutDiscards"),
            Sum("InReceives"));
    }

    public KernelCounters Since(KernelCounters before) =>
        new(Forwarded - before.Forwarded, Delivered - before.Delivered, Dropped - before.Dropped, Received - before.Received);

    public override string ToString() => $"received {Received}, forwarded {Forwarded}, delivered to itself {Delivered}, dropped or answered with an error {Dropped}";
}
