using System.Buffers.Binary;
using FastPathSync.Bpf;
using FastPathSync.Fpctl.Features.Policer;
using FastPathSync.Linux;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>The program itself, by BPF_PROG_TEST_RUN with given times, against the reference.</summary>
public sealed class PolicerProgramTests
{
    private const uint Unspec = uint.MaxValue, Shot = 2; // TC_ACT_UNSPEC, TC_ACT_SHOT
    private const int Sources = 10_000, PacketsOfEach = 16;
    private const long Day = 86_400_000_000_000;

    public PolicerProgramTests() => Assert.SkipUnless(Libc.geteuid() == 0, "needs root: eBPF");

    [Theory]
    [InlineData(4, 100u, 10u)]
    [InlineData(6, 100u, 10u)]
    [InlineData(4, 7u, 1u)]
    [InlineData(6, 1_000_000u, 3u)]
    public void TenThousandSourcesAreJudgedAsTheReferenceDoes(int family, uint rate, uint burst)
    {
        PolicerSettings settings = new(rate, burst, PolicerPer.Source, default);
        using Loaded policer = new(settings);
        Random random = new(20261129);
        Stream[] streams = [.. Enumerable.Range(0, Sources).Select(i => new Stream(settings, random.Next()))];
        byte[] frame = family == 4 ? Ether().Ipv4().Udp().Build() : Ether().Ipv6().Udp().Build();
        for (int n = 0; n < Sources * PacketsOfEach; n++)
        {
            int source = random.Next(Sources);
            Span<byte> address = family == 4 ? frame.AsSpan(26, 4) : frame.AsSpan(34, 4); // of IPv6 the last bytes
            BinaryPrimitives.WriteInt32BigEndian(address, 0x0a000000 + source);
            streams[source].Feed(policer, frame);
        }

        Assert.Equal(0, streams.Sum(s => s.Differences()));
        List<(PolicerKey, PolicerFlow Flow)> flows = policer.Flows;
        Assert.Equal(streams.Count(s => s.Count > 0), flows.Count);
        Assert.Equal((ulong)streams.Sum(s => s.Passed), flows.Aggregate(0ul, (sum, f) => sum + f.Flow.Forwarded));
        Assert.Equal((ulong)streams.Sum(s => s.Count - s.Passed), policer.Total(PolicerLayout.Dropped));
        Assert.Equal(0ul, policer.Total(PolicerLayout.Unmatched) + policer.Total(PolicerLayout.Untracked));
        Assert.All(WrongWindows(settings), wrong => Assert.True(streams.Sum(s => s.Differences(wrong.Make)) > 0, $"the packets don't tell '{wrong.Name}' from what is right"));
    }

    [Fact]
    public void AClassIsOneFlowWhoeverSends()
    {
        PolicerSettings settings = new(1_000, 20, PolicerPer.Class, default);
        using Loaded policer = new(settings);
        Stream stream = new(settings, 7);
        Random random = new(8);
        byte[][] frames = [Ether().Ipv4().Udp().Build(), Ether().Ipv6().Udp().Build(), Ether(type: 0x0806).Payload(28).Build()];
        for (int i = 0; i < 100_000; i++)
        {
            byte[] frame = frames[random.Next(frames.Length)];
            random.NextBytes(frame.AsSpan(26, 4));
            stream.Feed(policer, frame);
        }

        Assert.Equal(0, stream.Differences());
        Assert.Single(policer.Flows);
        Assert.All(WrongWindows(settings), wrong => Assert.True(stream.Differences(wrong.Make) > 0, wrong.Name));
    }

    [Fact]
    public void SourcesOfBothFamiliesAndWhatIsNotIpAreFlowsOfTheirOwn()
    {
        using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Source, default));
        byte[][] frames =
        [
            Ether().Ipv4("10.0.0.1").Udp().Build(), Ether().Ipv4("10.0.0.2").Udp().Build(),
            Ether().Ipv6("2001:db8::1").Udp().Build(), Ether().Ipv6("::").Udp().Build(), Ether().Ipv6("a00:1::").Udp().Build(),
            Ether(type: 0x0806).Payload(28).Build(),
        ];
        Assert.All(frames, f => Assert.Equal(Unspec, policer.Run(Day, f)));
        Assert.All(frames, f => Assert.Equal(Shot, policer.Run(Day, f)));
        Assert.Equal(Shot, policer.Run(Day, Ether(type: 0x88cc).Payload(60).Build())); // the second that is not IP
        Assert.Equal(
            ["", "10.0.0.1", "10.0.0.2", "2001:db8::1", "::", "a00:1::"],
            policer.Flows.Select(f => f.Key.Address?.ToString() ?? "").Order(StringComparer.Ordinal));
    }

    /// <summary>Transitions are whole: at one instant, from several CPUs, exactly B pass.</summary>
    [Fact]
    public void CpusTogetherLetExactlyTheBurstThrough()
    {
        const int Each = 20_000;
        PolicerSettings settings = new(1, 30_000, PolicerPer.Class, default);
        using Loaded policer = new(settings);
        byte[] frame = Ether().Ipv4().Udp().Build();
        int passed = 0;
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            int mine = 0;
            for (int i = 0; i < Each; i++)
            {
                mine += policer.Run(Day, frame) == Unspec ? 1 : 0;
            }

            Interlocked.Add(ref passed, mine);
        });
        Assert.Equal(30_000, passed);
        PolicerFlow flow = Assert.Single(policer.Flows).Flow;
        Assert.Equal((30_000ul, (4ul * Each) - 30_000), (flow.Forwarded, flow.Dropped));
    }

    [Fact]
    public void AFloodOfSpoofedSourcesFindsRoomAndPushesOutTheIdle()
    {
        using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Source, default), flows: 256);
        byte[] frame = Ether().Ipv4().Udp().Build();
        for (int i = 0; i < 50_000; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(26), i);
            Assert.Equal(Unspec, policer.Run(Day, frame));
        }

        Assert.InRange(policer.Flows.Count, 1, 256);
        Assert.Equal(0ul, policer.Total(PolicerLayout.Untracked));
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(26), 0);
        Assert.Equal(Unspec, policer.Run(Day, frame)); // forgotten: it begins anew
    }

    [Fact]
    public void TheClockIsMonotonicUnlessATestSaysOtherwise()
    {
        using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Class, default), packetClock: false);
        long before = (long)MonotonicClock.Nanoseconds;
        policer.Run(Day * 1000, Ether().Ipv4().Udp().Build());
        Assert.InRange(Assert.Single(policer.Flows).Flow.Start - new PolicerSettings(1, 1, PolicerPer.Class, default).TokenNs, before, (long)MonotonicClock.Nanoseconds);
    }

    /// <summary>Each a way to get the window wrong by little.</summary>
    private static (string Name, Func<Func<long, bool>> Make)[] WrongWindows(PolicerSettings s) =>
    [
        ("shift by a nanosecond more", () => new SlidingWindow(s.TokenNs + 1, s.WindowNs).Arrive),
        ("shift by a nanosecond less", () => new SlidingWindow(s.TokenNs - 1, s.WindowNs).Arrive),
        ("no shift", () => new SlidingWindow(0, s.WindowNs).Arrive),
        ("a window of B tokens", () => new SlidingWindow(s.TokenNs, s.WindowNs + s.TokenNs).Arrive),
        ("a window shorter by a nanosecond", () => new SlidingWindow(s.TokenNs, s.WindowNs - 1).Arrive),
        ("a window longer by a nanosecond", () => new SlidingWindow(s.TokenNs, s.WindowNs + 1).Arrive),
        ("its left end counts as before it", () => Wrong(s, (t, start) => t <= start, s.WindowNs, moveOnDrop: 0)),
        ("placed a token too far right", () => Wrong(s, (t, start) => t < start, s.WindowNs - s.TokenNs, moveOnDrop: 0)),
        ("placed without taking a token", () => Wrong(s, (t, start) => t < start, s.WindowNs + s.TokenNs, moveOnDrop: 0)),
        ("a drop moves it", () => Wrong(s, (t, start) => t < start, s.WindowNs, moveOnDrop: 1)),
    ];

    private static Func<long, bool> Wrong(PolicerSettings s, Func<long, long, bool> before, long placedBack, long moveOnDrop)
    {
        long? start = null;
        return t =>
        {
            if (start is long at && before(t, at))
            {
                start += moveOnDrop;
                return false;
            }

            start = (start is null || t > start + s.WindowNs ? t - placedBack : start) + s.TokenNs;
            return true;
        };
    }

    /// <summary>
    /// One flow's packets: bursts at one instant, single tokens, the edges of the window to the nanosecond, long silence. What the
    /// program said about each is kept, so that any model can be compared with it.
    /// </summary>
    private sealed class Stream(PolicerSettings settings, int seed)
    {
        private readonly Random _random = new(seed);
        private readonly SlidingWindow _guide = new(settings.TokenNs, settings.WindowNs);
        private readonly List<(long Time, bool Passed)> _packets = [];
        private long _now = Day;

        public int Count => _packets.Count;

        public int Passed => _packets.Count(p => p.Passed);

        public void Feed(Loaded policer, byte[] frame)
        {
            long start = _guide.Start ?? _now, end = _guide.End ?? _now;
            long next = _random.Next(12) switch
            {
                0 => start,
                1 => start - 1,
                2 => end,
                3 => end + 1,
                4 => _now + settings.TokenNs,
                5 => _now + _random.NextInt64(2 * settings.TokenNs),
                6 => end + _random.NextInt64(Day),
                7 => _now + 1,
                _ => _now,
            };
            _now = Math.Max(_now, next);
            _guide.Arrive(_now);
            uint verdict = policer.Run(_now, frame);
            Assert.True(verdict is Unspec or Shot, $"verdict {verdict}");
            _packets.Add((_now, verdict == Unspec));
        }

        public int Differences() => Differences(() => new SlidingWindow(settings.TokenNs, settings.WindowNs).Arrive);

        public int Differences(Func<Func<long, bool>> make)
        {
            Func<long, bool> arrive = make();
            return _packets.Count(p => arrive(p.Time) != p.Passed);
        }
    }
}
