using FastPathSync.Netlink.TrafficControl;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.Netlink.Tests.TrafficControl;

/// <summary>Bytes recorded on kernel 6.18 after `tc filter add dev r0 ingress prio 1 protocol ip u32 match ip dport 80 0xffff`.</summary>
public sealed class TcFilterTests
{
    private static readonly byte[] List = Convert.FromHexString("340000002c00020007000000c0130000000000000300000000000000f2ffffff08000100080001007533320008000b0000000000");

    private static readonly byte[] Filter = Convert.FromHexString(
        "6c0000002c00020007000000c0130000000000000300000000080080f2ffffff08000100080001007533320008000b0000000000"
        + "3800020024000500000001000000000000000000000000000000ffff000000501400000000000000080002000000008008000b0008000000");

    [Fact]
    public void FilterHasAHandleAndItsListHasNone()
    {
        Assert.Equal(new TcFilter("u32", 0) { Priority = 1 }, Parse(List));
        Assert.Equal(new TcFilter("u32", 0x80000800) { Priority = 1 }, Parse(Filter));
    }

    [Fact]
    public void TruncatedAndCorruptMessagesNeverThrow() => Prop.ForAll<int, int, byte>((cut, at, value) =>
    {
        byte[] bytes = [.. Filter];
        bytes[(at & int.MaxValue) % bytes.Length] = value;
        foreach (NetlinkMessage m in new NetlinkMessages(bytes.AsSpan(0, (cut & int.MaxValue) % (bytes.Length + 1))))
        {
            _ = TcFilter.TryParse(in m, out _);
        }
    }).QuickCheckThrowOnFailure();

    private static TcFilter Parse(byte[] bytes)
    {
        TcFilter filter = default;
        foreach (NetlinkMessage m in new NetlinkMessages(bytes))
        {
            Assert.True(TcFilter.TryParse(in m, out filter));
        }

        return filter;
    }
}
