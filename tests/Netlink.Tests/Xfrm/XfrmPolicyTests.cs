using FastPathSync.Netlink.Xfrm;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.Netlink.Tests.Xfrm;

/// <summary>Bytes recorded on kernel 6.18 after `ip xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir fwd priority 7 action block`.</summary>
public sealed class XfrmPolicyTests
{
    private static readonly byte[] Policy = Convert.FromHexString(
        "c40000001300020007000000c01300000a0200000000000000000000000000000a010000000000000000000000000000000000000000000002001818"
        + "000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        + "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000085c1006b00000000"
        + "0000000000000000070000000200000002010000000000000a0010000000000000000000");

    [Fact]
    public void PolicyTellsItsDirectionAndSelector()
    {
        foreach (NetlinkMessage m in new NetlinkMessages(Policy))
        {
            Assert.True(XfrmPolicy.TryParse(in m, out XfrmPolicy p));
            Assert.True(p.IsIpv4);
            Assert.Equal((FastPathSync.Netlink.Xfrm.Xfrm.XFRM_POLICY_FWD, (byte)1, 7u), (p.Direction, p.Action, p.Priority));
            Assert.Equal("src 10.1.0.0/24 dst 10.2.0.0/24", p.Selector);
        }
    }

    [Fact]
    public void TruncatedAndCorruptMessagesNeverThrow() => Prop.ForAll<int, int, byte>((cut, at, value) =>
    {
        byte[] bytes = [.. Policy];
        bytes[(at & int.MaxValue) % bytes.Length] = value;
        foreach (NetlinkMessage m in new NetlinkMessages(bytes.AsSpan(0, (cut & int.MaxValue) % (bytes.Length + 1))))
        {
            _ = XfrmPolicy.TryParse(in m, out _);
        }
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void RandomBodiesNeverThrow() => Prop.ForAll<byte[]>(body =>
    {
        NetlinkMessage m = new(new NlMsgHdr { Type = FastPathSync.Netlink.Xfrm.Xfrm.XFRM_MSG_NEWPOLICY }, [.. body, .. body, .. new byte[body.Length & 255]]);
        _ = XfrmPolicy.TryParse(in m, out _);
    }).QuickCheckThrowOnFailure();
}
