using System.Runtime.InteropServices;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.SharedMemory.Tables;
using Xunit;

namespace FastPathSync.FastPath.Tests.Exceptions;

/// <summary>The buckets against a plain one that counts tokens, and against themselves when many workers ask.</summary>
public sealed unsafe class PuntLimiterTests : IDisposable
{
    private const byte Reason = (byte)PuntReason.TtlExpired;

    private readonly PuntLimit* _limits = (PuntLimit*)NativeMemory.AllocZeroed(PuntLimitSegment.BodyLength);

    public void Dispose() => NativeMemory.Free(_limits);

    [Theory]
    [InlineData(1_000u, 64u, 1)]
    [InlineData(10_000u, 1_000u, 2)]
    [InlineData(333_333u, 64u, 3)]
    [InlineData(7u, 100u, 4)]
    public void EveryPacketIsJudgedAsABucketOfTokensWould(uint rate, uint burst, int seed)
    {
        PuntLimits.SetAll(_limits, [new(PuntReason.TtlExpired, new PuntLimitSetting(rate, burst))]);
        long token = _limits[Reason].Token, now = 1_000_000_000, held = burst * token, last = now;
        PuntLimiter limiter = new(_limits);
        Random random = new(seed);
        int green = 0, red = 0;
        for (int i = 0; i < 200_000; i++)
        {
            // Now and then a pause that fills the bucket; else a flood somewhat above the rate.
            now += random.Next(1000) == 0 ? random.NextInt64(3 * burst * token) : random.NextInt64(2 * token) / random.Next(1, 4);
            limiter.Begin(now);
            held = Math.Min(burst * token, held + now - last);
            last = now;
            bool expected = held >= token;
            held -= expected ? token : 0;
            bool admitted = limiter.Admits(Reason);
            Assert.True(expected == admitted, $"packet {i} at {now}: {held} ns of tokens");
            _ = admitted ? green++ : red++;
        }

        Assert.InRange(green, 1_000, 199_000);
        Assert.InRange(red, 1_000, 199_000);
    }

    [Fact]
    public void AtOneInstantWorkersTogetherGetTheBurstAndNoMore()
    {
        const uint Burst = 5_000;
        PuntLimits.SetAll(_limits, [new(null, new PuntLimitSetting(1_000, Burst))]);
        int admitted = 0;
        nint limits = (nint)_limits;
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            PuntLimiter limiter = new((PuntLimit*)limits);
            limiter.Begin(1_000_000_000_000);
            for (int i = 0; i < 4_000; i++)
            {
                if (limiter.Admits(Reason))
                {
                    Interlocked.Increment(ref admitted);
                }
            }
        });
        Assert.Equal((int)Burst, admitted);
    }

    [Fact]
    public void ReasonsDoNotShareTheirTokens()
    {
        PuntLimits.SetAll(_limits, [new(null, new PuntLimitSetting(100, 64)), new(PuntReason.Local, PuntLimitSetting.Unlimited)]);
        PuntLimiter limiter = new(_limits);
        limiter.Begin(1_000_000_000_000);
        for (int i = 0; i < 64; i++)
        {
            Assert.True(limiter.Admits(Reason));
        }

        Assert.False(limiter.Admits(Reason));
        Assert.True(limiter.Admits((byte)PuntReason.NoRoute));
        for (int i = 0; i < 10_000; i++)
        {
            Assert.True(limiter.Admits((byte)PuntReason.Local));
        }
    }

    [Fact]
    public void NothingIsUnlimitedUnlessSomebodySaysSo()
    {
        PuntLimits.SetAll(_limits, []);
        for (PuntReason r = 0; r < PuntReason.Count; r++)
        {
            PuntLimit l = _limits[(int)r];
            Assert.True(l.Rate > 0 && l.Token > 0 && l.Burst >= PuntLimitSetting.LeastBurst && l.Chosen == 0, ReasonNames.Of(r));
            Assert.InRange(l.Token * l.Rate, 1_000_000_000L, 1_000_000_000L + l.Rate);
        }
    }

    [Theory]
    [InlineData("ttl-expired=5k", 5_000u, 500u)]
    [InlineData("ttl-expired=100/s", 100u, 64u)]
    [InlineData("ttl-expired=1000:200", 1_000u, 200u)]
    [InlineData("all=unlimited", 0u, 0u)]
    [InlineData("all=default", 10_000u, 1_000u)]
    public void OptionsSayWhatHolds(string text, uint rate, uint burst)
    {
        PuntLimits.SetAll(_limits, [PuntLimitOption.Parse(text)]);
        Assert.Equal((rate, burst), (_limits[Reason].Rate, _limits[Reason].Burst));
    }

    [Theory]
    [InlineData("ttl-expired", "REASON=RATE")]
    [InlineData("ttl=5k", "no punt reason")]
    [InlineData("all=", "no rate")]
    [InlineData("all=0", "no rate")]
    [InlineData("all=-5", "no rate")]
    [InlineData("all=10001k", "no rate")]
    [InlineData("all=5k:10", "no burst")]
    [InlineData("all=5k:x", "burst is one number")]
    [InlineData("all=5k:100:100", "burst is one number")]
    [InlineData("all=unlimited:100", "goes with a rate")]
    [InlineData("all=5k=6k", "REASON=RATE")]
    public void OtherOptionsAreRefusedWithAReason(string text, string why) =>
        Assert.Contains(why, Assert.Throws<FormatException>(() => PuntLimitOption.Parse(text)).Message, StringComparison.Ordinal);
}
