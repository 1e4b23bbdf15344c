using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.SharedMemory.Tests;

public sealed class VrfStateTests
{
    [Fact]
    public void LatencyBucketsCoverWithoutGapOrOverlap()
    {
        for (int b = 0; b + 1 < VrfState.LatencyBuckets; b++)
        {
            ulong low = VrfState.LowerBound(b), next = VrfState.LowerBound(b + 1);
            Assert.True(next > low);
            if (next < 1ul << 40)
            {
                Assert.Equal(b, VrfState.BucketOf(low));
                Assert.Equal(b, VrfState.BucketOf(next - 1));
            }
        }
    }

    [Fact]
    public unsafe void StateFitsItsPlace() => Assert.True(sizeof(VrfState) <= 8192, $"{sizeof(VrfState)} bytes");

    [Fact]
    public void EveryReasonHasAName()
    {
        for (int i = 0; i < (int)PuntReason.Count; i++)
        {
            Assert.Matches("^[a-z0-9-]+$", ReasonNames.Of((PuntReason)i));
        }

        Assert.Equal("ttl-expired", ReasonNames.Of(PuntReason.TtlExpired));
        Assert.Equal("egress-not-a-port", ReasonNames.Of(PuntReason.EgressNotAPort));
        Assert.Equal("ambiguous-route", ReasonNames.Of(PuntReason.AmbiguousRoute));
    }
}
