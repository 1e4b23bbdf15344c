using System.Runtime.InteropServices;
using FastPathSync.Netlink.Rtnetlink;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.Netlink.Tests;

/// <summary>
/// Random, truncated and corrupted bytes: no parser throws, and none reads past the end (spans would throw). Each message is
/// given to every parser under every type that it takes.
/// </summary>
public sealed class MalformedTests
{
    private static readonly ushort[] s_types =
    [
        Rtm.RTM_NEWLINK, Rtm.RTM_NEWADDR, Rtm.RTM_NEWROUTE, Rtm.RTM_NEWNEXTHOP, Rtm.RTM_NEWNEIGH, Rtm.RTM_NEWNETCONF, Rtm.RTM_NEWRULE, Rtm.RTM_NEWQDISC,
    ];

    [Fact]
    public void EveryTruncationOfARecordingIsRefusedOrParsed()
    {
        foreach (byte[] recorded in Recorded.All.Concat(Recorded6.All))
        {
            for (int length = 0; length < recorded.Length; length++)
            {
                ParseAll(recorded.AsSpan(0, length));
                if (length >= Nlm.HeaderSize)
                {
                    byte[] shorter = recorded[..length];
                    MemoryMarshal.Write(shorter, (uint)length); // the header agrees with what is there, the attributes don't
                    ParseAll(shorter);
                }
            }
        }
    }

    [Fact]
    public void CorruptedRecordingsNeverThrow() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(20_000),
        Prop.ForAll(
            (from recorded in Gen.Elements([.. Recorded.All, .. Recorded6.All])
             from changes in Gen.ListOf(from at in Gen.Choose(0, recorded.Length - 1) from value in Gen.Choose(0, 255) select (at, value))
             select (recorded, changes)).ToArbitrary(),
            c =>
            {
                byte[] bytes = [.. c.recorded];
                foreach ((int at, int value) in c.changes)
                {
                    bytes[at] = (byte)value;
                }

                ParseAll(bytes);
            }));

    [Fact]
    public void RandomBytesNeverThrow() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(20_000),
        Prop.ForAll(
            Gen.Choose(0, 255).Select(i => (byte)i).ArrayOf().ToArbitrary(),
            payload =>
            {
                ParseAll(payload);
                byte[] framed = [.. new byte[Nlm.HeaderSize], .. payload];
                MemoryMarshal.Write(framed, (uint)framed.Length);
                foreach (ushort type in s_types)
                {
                    MemoryMarshal.Write(framed.AsSpan(4), type);
                    ParseAll(framed);
                }
            }));

    [Fact]
    public void AttributesThatClaimMoreThanThereIsAreRefused()
    {
        byte[] bytes = [.. Recorded.MultipathRoute];
        int multipath = bytes.AsSpan().IndexOf<byte>([0x24, 0, 9, 0]);
        bytes[multipath + 4] = 0xff; // rtnh_len of the first member
        NetlinkMessages walk = new(bytes);
        Assert.True(walk.MoveNext());
        Assert.False(RouteMessage.TryParse(walk.Current, out _));
    }

    /// <summary>Also with the message's own type replaced by that of the other families.</summary>
    private static void ParseAll(ReadOnlySpan<byte> datagram)
    {
        NetlinkMessages walk = new(datagram);
        while (walk.MoveNext())
        {
            NetlinkMessage m = walk.Current;
            Parse(in m);
            foreach (ushort type in s_types)
            {
                NlMsgHdr h = m.Header;
                h.Type = type;
                NetlinkMessage other = new(h, m.Payload);
                Parse(in other);
            }
        }
    }

    private static void Parse(in NetlinkMessage m)
    {
        if (LinkMessage.TryParse(in m, out LinkMessage? link))
        {
            Assert.True(link.Index > 0);
        }

        if (AddressMessage.TryParse(in m, out AddressMessage? address))
        {
            Assert.True(address.PrefixLength <= address.Local.Length * 8);
        }

        if (RouteMessage.TryParse(in m, out RouteMessage route))
        {
            for (int i = 0; i < route.NexthopCount; i++)
            {
                Assert.InRange(route.Nexthop(i).Weight, 1, 256);
            }
        }

        if (NexthopMessage.TryParse(in m, out NexthopMessage? nexthop))
        {
            Assert.NotEqual(0u, nexthop.Id);
        }

        _ = NexthopBucketMessage.TryParse(in m, out _);
        _ = NeighbourMessage.TryParse(in m, out _);
        _ = NetConfMessage.TryParse(in m, out _);
        _ = RuleMessage.TryParse(in m, out _);
        _ = QdiscMessage.TryParse(in m, out _);
    }
}
