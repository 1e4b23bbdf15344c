using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Tests.Statistics;

public sealed unsafe class StatisticsTests : IDisposable
{
    private readonly TestInstance _instance = new();

    public void Dispose() => _instance.Dispose();

    [Fact]
    public void EveryReceivedPacketIsInOneVerdict()
    {
        Fill(_instance.Worker(0, 1));
        PortState* p = FastPathStateSegment.Port(_instance[SegmentNames.FastPathState], 0);
        (p->RxRingFull, p->NoFrame, p->Passed[(int)PassReason.Arp]) = (4, 1, 6);
        JsonNode total = Json(StatisticsSnapshot.Take(_instance.Tables))["total"]!;
        Assert.Equal(
            """{"rx":25,"rxBytes":2000,"forwarded":15,"tx":0,"txBytes":0,"checksumsCompleted":2,"captured":{"copied":0,"missed":0},"punted":{"no-route":0,"ttl-expired":3},"puntLimited":{},"dropped":{"tx-ring-full":2,"rx-ring-full":4,"no-frame":1},"passed":{"arp":6}}"""
                .Replace("\"no-route\":0,", "", StringComparison.Ordinal),
            total.ToJsonString());
        ulong sum = Sum(total["punted"]!) + Sum(total["dropped"]!) + total["forwarded"]!.GetValue<ulong>();
        Assert.Equal(total["rx"]!.GetValue<ulong>(), sum);
    }

    [Fact]
    public void WorkersPortsAndFramesAreListed()
    {
        Segment first = _instance.Worker(0, 1);
        Fill(first);
        (WorkerSegment.State(first)->Bursts, WorkerSegment.State(first)->Sleeps) = (5, 7);
        _instance.Worker(1, 3);
        JsonNode j = Json(StatisticsSnapshot.Take(_instance.Tables));
        Assert.Equal([20ul, 0ul], j["workers"]!.AsArray().Select(w => w!["rx"]!.GetValue<ulong>()));
        Assert.Equal(["r0", "r1"], j["ports"]!.AsArray().Select(p => p!["ifname"]!.GetValue<string>()));
        Assert.Equal("""{"frames":8192,"inUse":14,"lost":0}""", j["umem"]!.ToJsonString());
        Assert.Equal(3u, j["workers"]![1]!["cpu"]!.GetValue<uint>());
        JsonNode w = j["workers"]![0]!;
        Assert.Equal((5ul, 7ul), (w["bursts"]!.GetValue<ulong>(), w["sleeps"]!.GetValue<ulong>()));
        Assert.Equal(["r0", "r1"], w["ports"]!.AsArray().Select(p => p!["ifname"]!.GetValue<string>()));
        Assert.Equal(20ul, w["ports"]!.AsArray().Aggregate(0ul, (sum, p) => sum + p!["rx"]!.GetValue<ulong>()));
        Assert.Equal(4096 * 2ul, j["workers"]!.AsArray().Aggregate(0ul, (sum, x) => sum + x!["umem"]!["frames"]!.GetValue<ulong>()));
    }

    [Fact]
    public void BaselineIsSubtractedAndSurvivesItsFile()
    {
        Segment w = _instance.Worker(0, 1);
        Fill(w);
        string path = Path.Combine(Path.GetTempPath(), $"fpctl-test-{Guid.NewGuid():N}");
        try
        {
            StatisticsBaseline baseline = new(path);
            Assert.Equal(20ul, baseline.Apply(StatisticsSnapshot.Take(_instance.Tables)).Total().Rx);
            baseline.Store(StatisticsSnapshot.Take(_instance.Tables));
            WorkerSegment.Port(w, 0)->Rx += 3;
            WorkerSegment.Port(w, 0)->Punted[(int)PuntReason.TtlExpired] += 3;
            Counters total = baseline.Apply(StatisticsSnapshot.Take(_instance.Tables)).Total();
            Assert.Equal((3ul, 0ul, 3ul), (total.Rx, total.Forwarded, Counters.Total(total.Punted)));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void BaselineOfAnOlderSegmentIsNotSubtracted()
    {
        Counters old = new() { Rx = 100, Forwarded = 100 }, now = new() { Rx = 5, Forwarded = 5 };
        Assert.Equal(5ul, now.Since(old).Rx);
        Assert.Equal(95ul, old.Since(now).Rx);
    }

    [Fact]
    public void PercentilesComeFromTheBucketOfTheRank()
    {
        ulong[] buckets = new ulong[VrfState.LatencyBuckets];
        buckets[VrfState.BucketOf(5)] = 50;
        buckets[VrfState.BucketOf(100)] = 49;
        buckets[VrfState.BucketOf(20_000)] = 1;
        Assert.Equal(5ul, LatencyHistogram.Percentile(buckets, 0.5));
        Assert.Equal(VrfState.LowerBound(VrfState.BucketOf(100)), LatencyHistogram.Percentile(buckets, 0.51));
        Assert.Equal(VrfState.LowerBound(VrfState.BucketOf(100)), LatencyHistogram.Percentile(buckets, 0.99));
        Assert.Equal(VrfState.LowerBound(VrfState.BucketOf(20_000)), LatencyHistogram.Percentile(buckets, 1));
        Assert.Equal(20_000ul, LatencyHistogram.Maximum(buckets, 20_000));
        Assert.Equal(0ul, LatencyHistogram.Percentile(new ulong[VrfState.LatencyBuckets], 0.99));
    }

    [Fact]
    public void SynchronizationIsReported()
    {
        _instance.Vrf->Latency[VrfState.BucketOf(7)] = 3;
        (_instance.Vrf->LatencyMax, _instance.Vrf->Resyncs, _instance.Vrf->Overruns) = (7, 2, 1);
        Assert.Equal(
            """{"eventToWorker":{"p50":7,"p99":7,"max":7,"count":3},"lastChange":0,"resyncs":2,"overruns":1}""",
            Json(StatisticsSnapshot.Take(_instance.Tables))["sync"]!.ToJsonString());
    }

    [Fact]
    public void RatesAreDifferencesOverTheTimeBetweenSamples()
    {
        Segment series = _instance.Add(SegmentNames.TimeSeries, SegmentKind.TimeSeries, TimeSeriesSegment.BodyLength);
        const ulong second = 1_000_000_000;
        for (ulong n = 0; n < 400; n++)
        {
            *TimeSeriesSegment.Time(series, n) = (1000 + n) * second;
            TimeSeriesSegment.Counters(series, n, 0)->Rx = n < 395 ? n * 10 : (395 * 10) + ((n - 395) * 100);
            *TimeSeriesSegment.Next(series) = n + 1;
        }

        ulong now = 1400 * second;
        Assert.Equal(100, Rates.Of(series, 0, 1, now)!.Rx);
        Assert.Equal(46, Rates.Of(series, 0, 10, now)!.Rx, 0.001);   // 4 s at 100, 6 s at 10
        Assert.Equal(16, Rates.Of(series, 0, 60, now)!.Rx, 0.001);   // 4 s at 100, 56 s at 10
        Assert.Null(Rates.Of(series, 0, 1, now + (10 * second)));    // fpsd has stopped
        *TimeSeriesSegment.Next(series) = 1;
        Assert.Null(Rates.Of(series, 0, 1, now));
    }

    private static void Fill(Segment worker)
    {
        PortCounters* c = WorkerSegment.Port(worker, 0);
        (c->Rx, c->RxBytes, c->Forwarded, c->ChecksumsCompleted) = (20, 2000, 15, 2);
        c->Punted[(int)PuntReason.TtlExpired] = 3;
        c->Dropped[(int)DropReason.TxRingFull] = 2;
    }

    private static ulong Sum(JsonNode reasons) => reasons.AsObject().Aggregate(0ul, (a, r) => a + r.Value!.GetValue<ulong>());

    private static JsonNode Json(StatisticsSnapshot s)
    {
        using MemoryStream m = new();
        using (Utf8JsonWriter w = new(m))
        {
            StatisticsJson.Write(w, s, (_, _) => null);
        }

        return JsonNode.Parse(Encoding.UTF8.GetString(m.ToArray()))!;
    }
}
