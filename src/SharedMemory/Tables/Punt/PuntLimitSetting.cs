using System.Globalization;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>How much of a reason Linux is to be given.</summary>
/// <param name="Rate">Packets per second; 0: no limit.</param>
/// <param name="Burst">Packets that may come at once; 0 with no limit.</param>
public readonly record struct PuntLimitSetting(uint Rate, uint Burst)
{
    public const string AllReasons = "all", NoLimit = "unlimited", DefaultLimit = "default";

    /// <summary>The packets of a vector are judged at one time.</summary>
    public const uint LeastBurst = 64;

    public const uint MostRate = 10_000_000, MostBurst = 10_000_000;

    /// <summary>Of what Linux answers or drops: as many ICMP messages a second as it sends at most (net.ipv4.icmp_msgs_per_sec).</summary>
    private const uint OfErrors = 10_000;

    /// <summary>Of what Linux delivers: with 100,000 that nobody listens for, a CPU of 2.6 GHz has no time left.</summary>
    private const uint OfHost = 50_000;

    /// <summary>Of what Linux forwards: as much as leaves it, and the worker, time for other things.</summary>
    private const uint OfTraffic = 100_000;

    public static PuntLimitSetting Unlimited => default;

    public long Token => TokenBucket.Token(Rate);

    public long Window => TokenBucket.Window(Rate, Burst);

    /// <summary>In force when nobody says otherwise.</summary>
    public static PuntLimitSetting Default(PuntReason reason) => WithBurst(reason is
        PuntReason.NoRoute or PuntReason.NoNeighbour or PuntReason.TtlExpired or PuntReason.Broadcast or PuntReason.Multicast or PuntReason.Blackhole
        or PuntReason.Unreachable or PuntReason.Prohibit or PuntReason.MartianSource or PuntReason.MartianDestination or PuntReason.HeaderError
        or PuntReason.ChecksumError or PuntReason.Truncated or PuntReason.LinkDown or PuntReason.NotIp or PuntReason.LinkLocal or PuntReason.ReversePath
        ? OfErrors : reason is PuntReason.Local ? OfHost : OfTraffic);

    /// <summary>A tenth of a second's packets, if nobody says how many.</summary>
    public static PuntLimitSetting WithBurst(uint rate, uint? burst = null) =>
        new(rate, rate == 0 ? 0 : burst ?? Math.Max(LeastBurst, rate / 10));

    /// <summary>By name, as in the counters; null for all of them.</summary>
    /// <exception cref="FormatException">The message says what is wrong, and what would be right.</exception>
    public static PuntReason? ParseReason(string text)
    {
        if (text == AllReasons)
        {
            return null;
        }

        for (PuntReason r = 0; r < PuntReason.Count; r++)
        {
            if (ReasonNames.Of(r) == text)
            {
                return r;
            }
        }

        throw new FormatException($"'{text}' is no punt reason; `fpctl punt show` lists them, and 'all' is all of them");
    }

    /// <summary>"100", "100/s", "20k", "unlimited"; null for "default".</summary>
    /// <exception cref="FormatException">See ParseReason.</exception>
    public static uint? ParseRate(string text)
    {
        if (text is DefaultLimit)
        {
            return null;
        }

        return text == NoLimit ? 0u
            : TokenBucket.TryParseRate(text, MostRate, out uint rate) ? rate
            : throw new FormatException($"'{text}' is no rate; give packets per second from 1 to {MostRate} (100, 100/s, 20k), '{NoLimit}' or '{DefaultLimit}'");
    }

    /// <exception cref="FormatException">See ParseReason.</exception>
    public static uint CheckBurst(long burst) => burst is >= LeastBurst and <= MostBurst
        ? (uint)burst
        : throw new FormatException($"'{burst}' is no burst; give the packets that may come at once, from {LeastBurst} (they are judged so many at a time) to {MostBurst}");
}

/// <summary>"REASON=RATE[:BURST]", as it stands behind --punt-limit.</summary>
/// <param name="Reason">Null: all.</param>
/// <param name="Setting">Null: the default.</param>
public readonly record struct PuntLimitOption(PuntReason? Reason, PuntLimitSetting? Setting)
{
    /// <exception cref="FormatException">The message says what is wrong, and what would be right.</exception>
    public static PuntLimitOption Parse(string text)
    {
        string[] sides = text.Split('=');
        if (sides.Length != 2)
        {
            throw new FormatException($"'{text}' is no limit; write REASON=RATE or REASON=RATE:BURST, such as ttl-expired=5k or no-route=1000:200");
        }

        string[] numbers = sides[1].Split(':');
        PuntReason? reason = PuntLimitSetting.ParseReason(sides[0]);
        uint? rate = PuntLimitSetting.ParseRate(numbers[0]);
        uint? burst = numbers.Length == 1 ? null
            : numbers.Length == 2 && rate > 0 && long.TryParse(numbers[1], NumberStyles.None, CultureInfo.InvariantCulture, out long n) ? PuntLimitSetting.CheckBurst(n)
            : throw new FormatException($"'{text}' is no limit; a burst is one number, and goes with a rate");
        return new PuntLimitOption(reason, rate is uint r ? PuntLimitSetting.WithBurst(r, burst) : null);
    }
}
