using FastPathSync.Fpctl.Features.Policer;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>What the window promises, of the reference alone.</summary>
public sealed class SlidingWindowTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(50)]
    public void ABurstOfBPassesAndThenOnePacketInEachT(int burst)
    {
        PolicerSettings s = new(Rate: 1000, (uint)burst, PolicerPer.Source, default);
        SlidingWindow w = new(s.TokenNs, s.WindowNs);
        const long Start = 5_000_000_000;
        Assert.Equal(burst, Enumerable.Range(0, 500).Count(_ => w.Arrive(Start)));
        Assert.False(w.Arrive(Start + s.TokenNs - 1));
        Assert.True(w.Arrive(Start + s.TokenNs));
        Assert.False(w.Arrive(Start + s.TokenNs));

        // A second more, one packet in each microsecond: a thousand.
        Assert.Equal(1000, Enumerable.Range(1, 1_000_000).Count(i => w.Arrive(Start + s.TokenNs + (i * 1000L))));
    }

    [Fact]
    public void WhoKeepsToTheRateLosesNothing()
    {
        SlidingWindow w = new(token: 1_000, length: 0);
        Assert.All(Enumerable.Range(0, 10_000), i => Assert.True(w.Arrive(i * 1_000L)));
    }

    /// <summary>Of the packets in any span d, at most B + floor(d x Q) pass; and it is the textbook's bucket, packet by packet.</summary>
    [Fact]
    public void NoSpanHoldsMoreThanTheBoundAndItIsATokenBucket() => Prop.ForAll<byte, int, int[]>((b, seed, _) =>
    {
        const long Token = 1_000;
        long burst = b + 1, t = 1;
        Random random = new(seed);
        SlidingWindow window = new(Token, (burst - 1) * Token);
        CountingBucket bucket = new(Token, burst);
        List<long> passed = [];
        for (int i = 0; i < 600; i++)
        {
            t += random.Next(8) switch { 0 => Token, 1 => random.Next(3000), 2 => burst * Token, < 6 => 0, _ => random.Next(200) };
            bool pass = window.Arrive(t);
            Assert.Equal(bucket.Arrive(t), pass);
            if (pass)
            {
                passed.Add(t);
            }
        }

        for (int i = 0; i < passed.Count; i++)
        {
            for (int j = i; j < passed.Count; j++)
            {
                Assert.True(j - i + 1 <= burst + ((passed[j] - passed[i]) / Token), $"burst {burst}: {j - i + 1} packets in {passed[j] - passed[i]} ns");
            }
        }
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void TokensAreWhatWouldPassAtOnce()
    {
        PolicerSettings s = new(Rate: 1_000_000, Burst: 4, PolicerPer.Source, default);
        PolicerConstants c = new() { TokenNs = s.TokenNs, WindowNs = s.WindowNs, Burst = s.Burst };
        Random random = new(1);
        SlidingWindow w = new(s.TokenNs, s.WindowNs);
        long t = 10_000;
        for (int i = 0; i < 2_000; i++)
        {
            t += random.Next(2_500);
            w.Arrive(t);
            long now = t + random.Next(6_000);
            SlidingWindow asked = new(s.TokenNs, s.WindowNs);
            while (asked.Start != w.Start)
            {
                // Brings a new one to the same place: full at the time that puts its start there.
                asked.Arrive(w.Start!.Value - s.TokenNs + s.WindowNs);
            }

            Assert.Equal((uint)Enumerable.Range(0, 10).Count(_ => asked.Arrive(now)), PolicerReader.Tokens(in c, w.Start!.Value, now));
        }
    }
}
