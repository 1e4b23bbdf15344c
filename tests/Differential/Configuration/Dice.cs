namespace FastPathSync.Differential;

/// <summary>The one source of chance: everything a run does follows from its seed.</summary>
internal sealed class Dice(int seed)
{
    private readonly Random _random = new(seed);

    /// <summary>From 0 to below <paramref name="end"/>.</summary>
    public int Below(int end) => _random.Next(end);

    /// <summary>Both ends included.</summary>
    public int Between(int first, int last) => _random.Next(first, last + 1);

    /// <summary>True once in so many times.</summary>
    public bool OneIn(int n) => _random.Next(n) == 0;

    public T Pick<T>(params ReadOnlySpan<T> from) => from[_random.Next(from.Length)];

    public T PickFrom<T>(IReadOnlyList<T> from) => from[_random.Next(from.Count)];

    public T PickWeighted<T>(IReadOnlyList<T> from, Func<T, double> weight)
    {
        double at = _random.NextDouble() * from.Sum(weight);
        foreach (T item in from)
        {
            at -= weight(item);
            if (at < 0)
            {
                return item;
            }
        }

        return from[^1];
    }

    public byte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        _random.NextBytes(bytes);
        return bytes;
    }

    public int Seed() => _random.Next();
}
