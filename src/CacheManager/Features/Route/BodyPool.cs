using System.Collections;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>
/// What routes say beside their prefix, by number: one object for all equal ones, for there are millions of routes and few ways out.
/// What nobody uses any more is forgotten when the pool has doubled since the last look.
/// </summary>
public sealed class BodyPool<T>
    where T : class, IEquatable<T>
{
    private const int Smallest = 4096;
    private readonly Dictionary<T, int> _numbers = [];
    private readonly List<T?> _bodies = [];
    private readonly Stack<int> _free = new();
    private int _limit = Smallest;

    /// <summary>Numbers are below this.</summary>
    public int End => _bodies.Count;

    /// <summary>Time to Forget.</summary>
    public bool IsFull => _numbers.Count >= _limit;

    public T this[int number] => _bodies[number]!;

    public int Share(T body)
    {
        if (_numbers.TryGetValue(body, out int number))
        {
            return number;
        }

        if (_free.TryPop(out number))
        {
            _bodies[number] = body;
        }
        else
        {
            number = _bodies.Count;
            _bodies.Add(body);
        }

        _numbers[body] = number;
        return number;
    }

    /// <summary>Forgets all but these; their numbers will mean something else.</summary>
    public void Forget(BitArray used)
    {
        for (int i = 0; i < _bodies.Count; i++)
        {
            if (_bodies[i] is T body && !used[i])
            {
                _numbers.Remove(body);
                _bodies[i] = null;
                _free.Push(i);
            }
        }

        _limit = Math.Max(Smallest, 2 * _numbers.Count);
    }
}
