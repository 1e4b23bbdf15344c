using FastPathSync.Netlink;
using FastPathSync.Netlink.Netfilter;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.Netlink.Tests.Netfilter;

/// <summary>
/// Bytes recorded on kernel 6.18 after `iptables -A FORWARD -j DROP` (iptables-nft 1.8.9) and
/// `nft add chain netdev n in '{ type filter hook ingress device r0 priority 0; policy drop; }'`.
/// </summary>
public sealed class NftablesTests
{
    private static readonly byte[] Table = Convert.FromHexString(
        "3c000000000a020007000000c0130000020000040b00010066696c746572000008000300000000010c00040000000000000000010800020000000000");

    private static readonly byte[] Chain = Convert.FromHexString(
        "70000000030a020007000000c0130000020000040b00010066696c74657200000c000300464f5257415244000c0002000000000000000001140004000800"
        + "010000000002080002000000000008000500000000010b00070066696c746572000008000a00000000010800060000000001");

    private static readonly byte[] DeviceChain = Convert.FromHexString(
        "7c000000030a020007000000c013000005000004060001006e00000007000300696e00000c000200000000000000000128000400080001000000000008000200"
        + "000000000c0004000700010072300000070003007230000008000500000000000b00070066696c746572000008000a00000000010800060000000000");

    [Fact]
    public void TableIsRead()
    {
        foreach (NetlinkMessage m in new NetlinkMessages(Table))
        {
            Assert.True(NftTable.TryParse(in m, out NftTable t));
            Assert.Equal(new NftTable(Nftables.NFPROTO_IPV4, "filter", 0), t);
            Assert.False(t.Dormant);
        }
    }

    [Fact]
    public void ChainTellsItsHookPolicyAndRules()
    {
        NftChain c = Parse(Chain)!;
        Assert.Equal(("filter", "FORWARD", Nftables.NFPROTO_IPV4, true), (c.Table, c.Name, c.Family, c.IsBase));
        Assert.Equal((Nftables.NF_INET_FORWARD, Nftables.NF_ACCEPT, 1u), (c.Hook, c.Policy, c.Rules));
        Assert.Empty(c.Devices);
    }

    [Fact]
    public void ChainOfADeviceNamesItOnce()
    {
        NftChain c = Parse(DeviceChain)!;
        Assert.Equal((Nftables.NFPROTO_NETDEV, Nftables.NF_NETDEV_INGRESS, Nftables.NF_DROP, 0u), (c.Family, c.Hook, c.Policy, c.Rules));
        Assert.Equal([new NftDevice("r0", false)], c.Devices);
    }

    [Fact]
    public void PrefixMatchesNamesThatBeginSo()
    {
        Assert.True(new NftDevice("eth", true).Matches("eth7"));
        Assert.False(new NftDevice("eth", false).Matches("eth7"));
    }

    [Fact]
    public void TruncatedAndCorruptMessagesNeverThrow() => Prop.ForAll<int, int, byte>((cut, at, value) =>
    {
        foreach (byte[] whole in new[] { Table, Chain, DeviceChain })
        {
            byte[] bytes = [.. whole];
            bytes[(at & int.MaxValue) % bytes.Length] = value;
            ParseAll(bytes);
            ParseAll(bytes.AsSpan(0, (cut & int.MaxValue) % bytes.Length));
        }
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void RandomBodiesNeverThrow() => Prop.ForAll<byte[]>(body =>
    {
        foreach (int type in new[] { Nftables.NFT_MSG_NEWTABLE, Nftables.NFT_MSG_NEWCHAIN, Nftables.NFT_MSG_NEWGEN, Nftables.NFT_MSG_NEWFLOWTABLE })
        {
            ParseOne(new NetlinkMessage(new NlMsgHdr { Type = Nftables.MessageType(type) }, body));
        }
    }).QuickCheckThrowOnFailure();

    private static NftChain? Parse(byte[] bytes)
    {
        NftChain? chain = null;
        foreach (NetlinkMessage m in new NetlinkMessages(bytes))
        {
            Assert.True(NftChain.TryParse(in m, out chain));
        }

        return chain;
    }

    private static void ParseAll(ReadOnlySpan<byte> bytes)
    {
        foreach (NetlinkMessage m in new NetlinkMessages(bytes))
        {
            ParseOne(in m);
        }
    }

    private static void ParseOne(in NetlinkMessage m)
    {
        _ = NftTable.TryParse(in m, out _);
        _ = NftChain.TryParse(in m, out _);
        _ = NftFlowtable.TryParse(in m, out _);
        _ = NftGeneration.TryParse(in m, out _);
    }
}
