namespace FastPathSync.Differential;

/// <summary>What became of the packets on each side, summed over epochs.</summary>
internal sealed class Tally
{
    private readonly Dictionary<string, ulong> _punted = [], _dropped = [], _passed = [];
    private KernelCounters _kernel = new(0, 0, 0, 0), _behind = new(0, 0, 0, 0);
    private ulong _forwarded;

    /// <summary>Of routers that were new when the epoch began: their counters are the epoch's.</summary>
    public void Add(RouterPair routers)
    {
        _kernel += KernelCounters.Read(routers[Side.Kernel]);
        _behind += KernelCounters.Read(routers[Side.Product]);
        CounterReport total = routers.Product.SettledTotal();
        _forwarded += total.Forwarded;
        Sum(_punted, total.Punted);
        Sum(_dropped, total.Dropped);
        Sum(_passed, total.Passed);
    }

    public void Print()
    {
        Console.WriteLine($"kernel:  {_kernel}");
        Console.WriteLine($"product: forwarded {_forwarded}, punted {Text(_punted)}, dropped {Text(_dropped)}, passed by XDP {Text(_passed)}");
        Console.WriteLine($"         Linux behind it: {_behind}");
    }

    private static void Sum(Dictionary<string, ulong> sum, Dictionary<string, ulong> more)
    {
        foreach ((string reason, ulong count) in more)
        {
            sum[reason] = sum.GetValueOrDefault(reason) + count;
        }
    }

    private static string Text(Dictionary<string, ulong> counts)
    {
        string reasons = string.Join(", ", counts.Where(c => c.Value > 0).OrderByDescending(c => c.Value).Select(c => $"{c.Key} {c.Value}"));
        return $"{counts.Values.Aggregate(0ul, (a, b) => a + b)}{(reasons.Length > 0 ? $" ({reasons})" : "")}";
    }
}
