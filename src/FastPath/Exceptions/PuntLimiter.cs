using System.Runtime.CompilerServices;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>
/// Asks the token buckets of a worker's exceptions. The packets of a burst are judged at one time, which is read when the first of them
/// asks: a burst without exceptions reads no clock.
/// </summary>
internal unsafe struct PuntLimiter(PuntLimit* limits)
{
    private readonly PuntLimit* _limits = limits;
    private long _now;

    /// <summary>Another burst begins.</summary>
    /// <param name="now">When it was received, CLOCK_MONOTONIC ns; 0: ask when it matters.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Begin(long now = 0) => _now = now;

    /// <summary>A token is taken, or there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Admits(byte reason)
    {
        PuntLimit* l = _limits + reason;
        return Volatile.Read(ref l->Token) == 0 || TryTake(l);
    }

    /// <summary>
    /// Before its window a packet is red, and nothing moves; inside it is green, and the window moves on by a token; behind it, nothing
    /// has come for long: the window is put so that it ends with the packet, which is then inside.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryTake(PuntLimit* l)
    {
        long now = _now == 0 ? _now = (long)MonotonicClock.Nanoseconds : _now;
        while (true)
        {
            long start = Volatile.Read(ref l->Start);
            if (now < start)
            {
                return false;
            }

            long inside = Math.Max(start, now - l->Window);
            if (Interlocked.CompareExchange(ref l->Start, inside + l->Token, start) == start)
            {
                return true;
            }
        }
    }
}
