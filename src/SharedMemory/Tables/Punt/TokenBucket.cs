using System.Globalization;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>The arithmetic of the sliding windows (docs/features/policer.md): of the punt limits and of the eBPF policer.</summary>
public static class TokenBucket
{
    private const long NanosecondsPerSecond = 1_000_000_000;

    /// <summary>T = 1/Q in ns, rounded up; 0: no limit.</summary>
    public static long Token(uint rate) => rate == 0 ? 0 : (NanosecondsPerSecond + rate - 1) / rate;

    /// <summary>L = (B - 1) x T</summary>
    public static long Window(uint rate, uint burst) => rate == 0 ? 0 : (burst - 1) * Token(rate);

    /// <summary>What it holds now, when its window starts there.</summary>
    public static long Held(long now, long start, long token, uint burst) => now < start ? 0 : Math.Min(burst, ((now - start) / token) + 1);

    /// <summary>Packets per second: "100", "100/s", "20k", "20k/s"; from 1 on.</summary>
    public static bool TryParseRate(string text, uint most, out uint rate)
    {
        string number = text.EndsWith("/s", StringComparison.Ordinal) ? text[..^2] : text;
        uint unit = number.EndsWith('k') ? 1000u : 1u;
        bool good = uint.TryParse(unit == 1 ? number : number[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out rate) && rate > 0 && rate <= most / unit;
        rate = good ? rate * unit : 0;
        return good;
    }
}
