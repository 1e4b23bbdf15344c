namespace FastPathSync.CacheManager.Features.Route;

/// <summary>One object for all equal values. What nobody uses any more is forgotten when the pool has doubled since the last look.</summary>
/// <param name="used">Every value in use, repeated as often as it is used.</param>
public sealed class RoutePool<T>(Func<IEnumerable<T>> used)
    where T : class, IEquatable<T>
{
    private const int Smallest = 4096;
    private HashSet<T> _values = [];
    private int _limit = Smallest;

    public T Share(T value)
    {
        if (_values.TryGetValue(value, out T? known))
        {
            return known;
        }

        if (_values.Count >= _limit)
        {
            _values = [.. used()];
            _limit = Math.Max(Smallest, 2 * _values.Count);
        }

        _values.Add(value);
        return value;
    }
}
