using System.Text.Json;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Topology;

/// <summary>What has been damaged in the tables, by whatever, is found, mended and counted, though no event tells of it.</summary>
public sealed unsafe class AuditTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Fact]
    public void ADamagedEntryIsRepairedAndCounted()
    {
        using Product product = new(Router);
        product.Start("--port r0 --port r1 --audit 1");
        Router.Run("ip route replace 10.99.0.0/16 via 10.2.0.2");
        Await(product, 1, 0);
        Damage(product);
        (ulong _, ulong repaired) = Await(product, 2, 1);
        Assert.True(product.Verify().Equal);
        (ulong runs, _) = Audits(product);
        Assert.Equal(repaired, Await(product, runs + 2, repaired).Repaired); // once, not at every audit
    }

    [Fact]
    public void WithoutAuditItStays()
    {
        using Product product = new(Router);
        product.Start("--port r0 --port r1 --audit 0");
        Router.Run("ip route replace 10.99.0.0/16 via 10.2.0.2");
        product.WaitVerified(5);
        Damage(product);
        Thread.Sleep(3000);
        Assert.False(product.Verify().Equal);
        Assert.Equal(0ul, Audits(product).Runs);
    }

    private static void Damage(Product product)
    {
        using Segment fib = new SegmentStore($"{product.Directory}/supervisor.sock").TryGetSegment(SegmentNames.Fib4, SegmentKind.Fib4, writable: true)
            ?? throw new InvalidOperationException("no FIB");
        uint* first = Fib4Segment.Table24(fib) + ((10 << 16) | (99 << 8));
        Assert.NotEqual(0u, *first);
        *first = 0;
    }

    private static (ulong Runs, ulong Repaired) Audits(Product product)
    {
        JsonElement audit = product.Show("stats").GetProperty("audit");
        return (audit.GetProperty("runs").GetUInt64(), audit.GetProperty("repaired").GetUInt64());
    }

    private static (ulong Runs, ulong Repaired) Await(Product product, ulong runs, ulong repaired)
    {
        for (int i = 0; i < 100; i++)
        {
            (ulong Runs, ulong Repaired) now = Audits(product);
            if (now.Runs >= runs && now.Repaired >= repaired)
            {
                return now;
            }

            Thread.Sleep(100);
        }

        throw new TimeoutException($"{runs} audits with {repaired} repairs were expected, there were {Audits(product)}");
    }
}
