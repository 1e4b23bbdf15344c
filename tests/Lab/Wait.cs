using System.Diagnostics;

namespace FastPathSync.Labs;

/// <summary>Waiting with a deadline.</summary>
public static class Wait
{
    public static void Until(Func<bool> condition, TimeSpan limit, string what, TimeSpan? step = null)
    {
        Stopwatch clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < limit, $"waited {limit.TotalSeconds:0.0} s in vain: {what}");
            Thread.Sleep(step ?? TimeSpan.FromMilliseconds(10));
        }
    }

    /// <summary>The first non-null answer; when time runs out, fails with the last reason given.</summary>
    public static T For<T>(Func<T?> attempt, TimeSpan limit, Func<string> what)
        where T : class
    {
        Stopwatch clock = Stopwatch.StartNew();
        while (true)
        {
            if (attempt() is T found)
            {
                return found;
            }

            Assert.True(clock.Elapsed < limit, $"waited {limit.TotalSeconds:0.0} s in vain: {what()}");
            Thread.Sleep(10);
        }
    }
}
