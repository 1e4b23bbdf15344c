using FastPathSync.Bpf;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Tests.Ports;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Bpf;

/// <summary>The XDP program alone, fed through BPF_PROG_TEST_RUN: every reason, and what it does to the packet.</summary>
public sealed unsafe class XdpRedirectTests : IDisposable
{
    private const uint XDP_PASS = 2;
    private const ulong RouterMac = 0x02 | (1ul << 32) | (1ul << 40); // 02:00:00:00:01:01
    private readonly XdpShared _shared;
    private readonly BpfObject _program;
    private readonly ulong* _config;
    private readonly ReinjectionCookie _cookie = ReinjectionCookie.Random();

    public XdpRedirectTests()
    {
        Assert.SkipUnless(Libc.geteuid() == 0, "needs root: eBPF");
        _shared = new XdpShared();
        _program = Load(generic: false);
        _config = (ulong*)_program.MapMemory(".data.config");
        *_config = XdpLayout.Config(RouterMac, new Admission(1514));
        _shared.Watch(1);
        Beat();
    }

    [Fact]
    public void EachReasonHasItsCounter()
    {
        byte[] plain = LabFrames.Udp();
        Passes(PassReason.NoSocket, plain); // no socket is in the map: the last thing that can happen
        Passes(PassReason.OtherHost, With(plain, 5, 9));
        Passes(PassReason.Multicast, With(plain, 0, 1));
        Passes(PassReason.Multicast, With(plain, 30, 224));
        Passes(PassReason.Arp, With(plain, 13, 6));
        Passes(PassReason.NotIp, With(plain, 12, 0x88));
        Passes(PassReason.Truncated, plain[..33]);
        Passes(PassReason.Oversize, LabFrames.Udp(payload: 1500));
        _shared.SetLocalAddresses([IpAddress.FromV4(0x0a020002)]);
        Passes(PassReason.LocalAddress, plain);
        _shared.SetLocalAddresses([IpAddress.FromV4(0x0a020003)]);
        Passes(PassReason.NoSocket, plain);
        *_config = XdpLayout.Config(RouterMac, new Admission(0));
        Passes(PassReason.Demoted, plain);
        Passes(PassReason.Demoted, With(plain, 5, 9));
    }

    [Fact]
    public void EachReasonOfIpv6HasItsCounter()
    {
        byte[] plain = Ipv6();
        Passes(PassReason.NoSocket, plain);
        Passes(PassReason.NoSocket, Ipv6(destination: "::ffff:10.2.0.2"));
        Passes(PassReason.NoSocket, Ipv6(destination: "fec0::1", source: "fe7f::1"));
        Passes(PassReason.OtherHost, With(plain, 5, 9));
        Passes(PassReason.Multicast, With(plain, 0, 0x33));
        Passes(PassReason.Multicast, Ipv6(destination: "ff02::1"));
        Passes(PassReason.LinkLocal, Ipv6(destination: "fe80::1"));
        Passes(PassReason.LinkLocal, Ipv6(destination: "febf::1"));
        Passes(PassReason.LinkLocal, Ipv6(source: "fe80::1"));
        Passes(PassReason.NotIp, With(With(plain, 12, 0x81), 13, 0));
        Passes(PassReason.Truncated, plain[..53]);
        Passes(PassReason.NoSocket, plain[..54]); // the rest is the worker's to miss
        Passes(PassReason.Truncated, plain[..33]);
        Passes(PassReason.Oversize, Ipv6(payload: 1453));
        Passes(PassReason.NoSocket, Ipv6(payload: 1452));
    }

    [Fact]
    public void OurOwnIpv6AddressesAreFoundExactly()
    {
        _shared.SetLocalAddresses([LabTables.Ip6("2001:db8:1::1"), IpAddress.FromV4(0x0a020002)]);
        Passes(PassReason.LocalAddress, Ipv6());
        Passes(PassReason.NoSocket, Ipv6(destination: "2001:db8:1::2"));
        Passes(PassReason.NoSocket, Ipv6(destination: "::ffff:10.2.0.2"));
        Passes(PassReason.LocalAddress, LabFrames.Udp());

        // The filter has this one's bit, the map doesn't have it.
        ulong high = LabTables.Ip6("2001:db8:1::1").High;
        ulong twin = Enumerable.Range(2, 1 << 22).Select(i => (ulong)i).First(low => LocalAddressFilter.Hash(high, low) == LocalAddressFilter.Hash(high, 1));
        Passes(PassReason.NoSocket, Ipv6(destination: new IpAddress(high, twin).ToString()));
        _shared.SetLocalAddresses([IpAddress.FromV4(0x0a020002)]);
        Passes(PassReason.NoSocket, Ipv6());
        Passes(PassReason.LocalAddress, LabFrames.Udp());
    }

    [Fact]
    public void AFamilyIsDemotedByItself()
    {
        *_config = XdpLayout.Config(RouterMac, new Admission(1514, Families.Ipv6));
        Passes(PassReason.Demoted, Ipv6());
        Passes(PassReason.Demoted, Ipv6()[..40]);
        Passes(PassReason.NoSocket, LabFrames.Udp());
        Passes(PassReason.Arp, With(LabFrames.Udp(), 13, 6));
        *_config = XdpLayout.Config(RouterMac, new Admission(1514, Families.Ipv4));
        Passes(PassReason.NoSocket, Ipv6());
        Passes(PassReason.Demoted, LabFrames.Udp());
        *_config = XdpLayout.Config(RouterMac, new Admission(1514, Families.Both));
        Passes(PassReason.Demoted, Ipv6());
        Passes(PassReason.Demoted, LabFrames.Udp());
    }

    [Fact]
    public void AWorkerWithoutProgressIsNoticedAndItsReturnToo()
    {
        byte[] plain = LabFrames.Udp();
        Assert.True(RouterLab.Eventually(() => !_shared.Alive, 200));
        Passes(PassReason.HeartbeatLost, plain);
        Passes(PassReason.HeartbeatLost, With(plain, 13, 6));
        Beat();
        Passes(PassReason.NoSocket, plain);
    }

    [Fact]
    public void AnInjectedPacketLosesItsCookieAndAForgedOneKeepsIt()
    {
        using BpfObject generic = Load(generic: true);
        byte[] plain = LabFrames.Udp();
        byte[] injected = [.. plain, .. BitConverter.GetBytes(_cookie.First), .. BitConverter.GetBytes(_cookie.Second)];
        byte[] output = new byte[2048];
        Assert.Equal(XDP_PASS, generic.Program("xdp_redirect").Run(injected, output, out int length));
        Assert.Equal(plain, output[..length]);
        Assert.Equal(1ul, generic.Map("passed").Sum((uint)PassReason.Reinjected));
        injected[^1] ^= 1;
        Assert.Equal(XDP_PASS, generic.Program("xdp_redirect").Run(injected, output, out length));
        Assert.Equal(injected, output[..length]);
        Assert.Equal(1ul, generic.Map("passed").Sum((uint)PassReason.Reinjected));
    }

    [Fact]
    public void RandomFramesAreNeverDroppedNorChanged()
    {
        Random random = new(1);
        byte[] output = new byte[4096];
        for (int i = 0; i < 2000; i++)
        {
            byte[] frame = new byte[random.Next(14, 200)];
            random.NextBytes(frame);
            if (i % 3 != 0)
            {
                (i % 3 == 1 ? LabFrames.Udp() : Ipv6()).AsSpan(0, random.Next(1, Math.Min(frame.Length, 60))).CopyTo(frame);
            }

            Assert.Equal(XDP_PASS, _program.Program("xdp_redirect").Run(frame, output, out int length));
            Assert.Equal(frame, output[..length]);
        }
    }

    public void Dispose()
    {
        _program?.Dispose();
        _shared?.Dispose();
    }

    private static byte[] Ipv6(string source = "2001:db8::1", string destination = "2001:db8:1::1", int payload = 20) =>
        Ether("02:00:00:00:01:01").Ipv6(source, destination).Udp().Payload(payload).Build();

    private static byte[] With(byte[] frame, int at, byte value)
    {
        byte[] f = [.. frame];
        f[at] = value;
        return f;
    }

    /// <summary>The timer looks every 10 ms: alive once it saw the counter move.</summary>
    private void Beat() => Assert.True(RouterLab.Eventually(() =>
    {
        ++*_shared.Beat(0);
        return _shared.Alive;
    }));

    private BpfObject Load(bool generic)
    {
        BpfObject o = BpfObject.Open("xdp_redirect");
        o.SetConstants(".rodata.constants", new XdpConstants { Generic = generic ? 1u : 0u, Cookie = _cookie });
        _shared.ShareWith(o);
        o.Load();
        return o;
    }

    private void Passes(PassReason reason, byte[] frame)
    {
        if (reason != PassReason.HeartbeatLost)
        {
            Beat();
        }

        ulong[] before = Counters();
        byte[] output = new byte[4096];
        Assert.Equal(XDP_PASS, _program.Program("xdp_redirect").Run(frame, output, out int length));
        Assert.Equal(frame, output[..length]);
        ulong[] after = Counters();
        for (int i = 0; i < after.Length; i++)
        {
            Assert.True(after[i] - before[i] == (i == (int)reason ? 1ul : 0ul), $"{(PassReason)i} moved by {after[i] - before[i]}, expected {reason}");
        }
    }

    private ulong[] Counters() => [.. Enumerable.Range(0, (int)PassReason.Count).Select(i => _program.Map("passed").Sum((uint)i))];
}
