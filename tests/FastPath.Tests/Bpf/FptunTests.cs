using System.Buffers.Binary;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.Labs;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Bpf;

/// <summary>
/// bpf/fptun.bpf.c on a carrier of its own, in a namespace with a veth v0, a macvlan mv0 on it, and a TUN device t0, which has no
/// Ethernet header: what comes out where, as a packet socket there sees it.
/// </summary>
public sealed unsafe class FptunTests : IDisposable
{
    private const uint NoSuchInterface = 4711;

    private readonly Lab _lab = new();
    private readonly LabNamespace _ns;
    private readonly FptunConstants _constants = FptunConstants.Random();
    private readonly Carrier _carrier;
    private readonly CarrierQueue _queue;
    private readonly Dictionary<string, uint> _index = [];
    private readonly byte[] _trailer = new byte[FptunTrailer.Size];

    public FptunTests()
    {
        _ns = _lab.AddNamespace("fptun");
        _ns.Run("ip link add v0 type veth peer name v1");
        _ns.Run("ip link add mv0 link v0 type macvlan mode bridge");
        _ns.Run("ip tuntap add dev t0 mode tun");
        foreach (string name in (string[])["v0", "v1", "mv0", "t0"])
        {
            _ns.Run($"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1");
            _ns.Run($"ip link set {name} up");
            _index[name] = (uint)_ns.IfIndex(name);
        }

        _carrier = _ns.Inside(() => Carrier.Create(_constants, _ns.Name));
        _queue = Queue(_constants.Secret);
        _carrier.Follow(new HashSet<uint>(_index.Values), new HashSet<uint> { _index["v0"] });
    }

    public void Dispose()
    {
        _queue.Dispose();
        _carrier.Dispose();
        _lab.Dispose();
    }

    [Theory]
    [InlineData("Basic", "v0")]
    [InlineData("Tap", "v0")]
    [InlineData("IfaceInput", "mv0")]
    [InlineData("IpsecDone", "mv0")]
    [InlineData("IfaceInput", "t0")]
    public void AFrameIsReceivedWhereItsTrailerSays(string command, string device)
    {
        FptunCommand c = Enum.Parse<FptunCommand>(command);
        foreach (byte[] frame in Frames(device))
        {
            bool hasEthernet = device != "t0";
            ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
            if (!hasEthernet && type is not (0x0800 or 0x86dd))
            {
                continue;
            }

            using Listener listener = new(_ns, device);
            ulong before = Counter((int)c);
            Send(_queue, frame, c, _index[device], etherType: hasEthernet ? (ushort)0 : type);
            (byte[] bytes, ushort protocol) = listener.Receive();
            Assert.Equal(Convert.ToHexStringLower(hasEthernet ? frame : frame[14..]), Convert.ToHexStringLower(bytes));
            Assert.Equal(type, protocol);
            Assert.Equal(before + 1, Counter((int)c));
        }

        Assert.Equal(0ul, Refused());
    }

    [Fact]
    public void TheMarkIsCarried()
    {
        _ns.Run("iptables -t raw -A PREROUTING -i mv0 -m mark --mark 0x1234 -j DROP");
        Send(_queue, Frames("mv0")[0], FptunCommand.IfaceInput, _index["mv0"], mark: 0x1234);
        Send(_queue, Frames("mv0")[0], FptunCommand.IfaceInput, _index["mv0"], mark: 0x1235);
        Wait.Until(() => _ns.Run("iptables -t raw -L PREROUTING -v -n -x").Output.Split('\n')[2].TrimStart().StartsWith("1 ", StringComparison.Ordinal), TimeSpan.FromSeconds(2), "one packet has the mark");
    }

    [Fact]
    public void WhatLinuxAsksForLeavesByThePort()
    {
        foreach (byte[] frame in Frames("v0"))
        {
            using Listener listener = new(_ns, "v1");
            ulong before = Counter((int)FptunOutput.Sent);
            Send(_queue, frame, FptunCommand.Output, _index["v0"]);
            _carrier.Output.Serve();
            Assert.Equal(Convert.ToHexStringLower(frame), Convert.ToHexStringLower(listener.Receive().Bytes));
            Assert.Equal(before + 1, Counter((int)FptunOutput.Sent));
        }

        Assert.Equal(4ul, Counter((int)FptunCommand.Output));
        Assert.Equal((0ul, 0ul), (Refused(), Counter((int)FptunOutput.Failed)));
    }

    [Fact]
    public void WhatLinuxAsksForHasTheMarkItAskedFor()
    {
        using Listener marked = new(_ns, "v0");
        marked.OnlyMarked(0x77);
        foreach (uint mark in (uint[])[0, 0x77, 0x78])
        {
            Send(_queue, Frames("v0")[(int)mark & 1], FptunCommand.Output, _index["v0"], mark);
        }

        _carrier.Output.Serve();
        Assert.Equal(3ul, Counter((int)FptunOutput.Sent));
        Assert.Equal(Frames("v0")[1], marked.Receive().Bytes);
        Assert.False(marked.HasAny());
    }

    [Fact]
    public void WhatLinuxDoesNotTakeIsCounted()
    {
        Send(_queue, [.. Frames("v0")[0], .. new byte[2000]], FptunCommand.Output, _index["v0"]); // longer than the MTU
        _carrier.Output.Serve();
        _ns.Run("ip link set v0 down");
        Send(_queue, Frames("v0")[0], FptunCommand.Output, _index["v0"]);
        _carrier.Output.Serve();
        Assert.Equal((2ul, 0ul), (Counter((int)FptunOutput.Failed), Counter((int)FptunOutput.Sent)));
    }

    /// <summary>PACKET_QDISC_BYPASS leads to the TAP past all hooks.</summary>
    [Fact]
    public void WhatComesPastTheHookIsNotSent()
    {
        using Listener listener = new(_ns, "v1");
        FptunTrailer.Write(_trailer, FptunCommand.Output, 0, _index["v0"], _constants.Secret);
        SendPastTheHook([.. Frames("v0")[0], .. _trailer]);
        SendPastTheHook(Frames("v0")[0]);
        SendPastTheHook(new byte[15]);
        _carrier.Output.Serve();
        Assert.Equal((0ul, 3ul), (Counter((int)FptunOutput.Sent), Counter((int)FptunOutput.Refused)));
        Assert.False(listener.HasAny());

        // A port that it was when the hook saw it, and is no more.
        Send(_queue, Frames("v0")[0], FptunCommand.Output, _index["v0"]);
        _carrier.Follow(new HashSet<uint> { _index["v0"] }, new HashSet<uint>());
        _carrier.Output.Serve();
        Assert.Equal((0ul, 4ul), (Counter((int)FptunOutput.Sent), Counter((int)FptunOutput.Refused)));
    }

    [Theory]
    [InlineData("NoTrailer", "4650543101")]                                   // cut off
    [InlineData("NoTrailer", "465054320101000000000001" + "00000000")]        // other magic
    [InlineData("BadVersion", "465054310201000000000001" + "00000000")]
    [InlineData("BadCommand", "465054310100000000000001" + "00000000")]
    [InlineData("BadCommand", "465054310106000000000001" + "00000000")]
    [InlineData("BadTarget", "465054310101000000001267" + "00000000")]        // no such interface
    public void WhatHasNoSoundTrailerIsDropped(string why, string trailer)
    {
        SendRaw(_queue, [.. Frames("v0")[0], .. Convert.FromHexString(trailer)]);
        Assert.Equal(1ul, Counter((int)Enum.Parse<FptunRefusal>(why)));
        Assert.Equal((0ul, 1ul), (Done(), Refused()));
    }

    [Fact]
    public void WhatIsNotForAnInterfaceDoesNotReachIt()
    {
        Send(_queue, Frames("mv0")[0], FptunCommand.Basic, _index["mv0"]); // no port
        Send(_queue, Frames("mv0")[0], FptunCommand.Tap, _index["mv0"]);
        Send(_queue, Frames("mv0")[0], FptunCommand.Output, _index["mv0"]);
        Send(_queue, Frames("v0")[0], FptunCommand.Basic, _carrier.IfIndex);
        Send(_queue, Frames("v0")[0], FptunCommand.IfaceInput, NoSuchInterface);
        _carrier.Follow(new HashSet<uint> { _index["v0"] }, new HashSet<uint> { _index["v0"] });
        Send(_queue, Frames("mv0")[0], FptunCommand.IfaceInput, _index["mv0"]); // has gone from the VRF
        Assert.Equal(6ul, Counter((int)FptunRefusal.BadTarget));
        Assert.Equal(0ul, Done());
    }

    /// <summary>Who may open packet sockets may send anything to the carrier; he can't know the secret.</summary>
    [Fact]
    public void AStrangersTrailerIsForged()
    {
        using CarrierQueue stranger = Queue(_constants.Secret ^ 2);
        Send(stranger, Frames("v0")[0], FptunCommand.Basic, _index["v0"]);
        Send(stranger, Frames("mv0")[0], FptunCommand.IfaceInput, _index["mv0"]);
        Send(stranger, Frames("v0")[0], FptunCommand.Output, _index["v0"]);
        Assert.Equal(3ul, Counter((int)FptunRefusal.Forged));
        Assert.Equal(0ul, Done());
    }

    private CarrierQueue Queue(uint secret) => _ns.Inside(() => new CarrierQueue(_carrier.IfIndex, null, secret));

    private ulong Counter(int which)
    {
        Span<ulong> sums = stackalloc ulong[FastPathState.FptunCounters];
        _carrier.AddCounters(sums);
        return sums[which];
    }

    private ulong Done() => Enumerable.Range(1, (int)FptunCommand.Count - 1).Aggregate(0ul, (sum, c) => sum + Counter(c));

    private ulong Refused() => Enumerable.Range((int)FptunRefusal.NoTrailer, FptunRefusal.Count - FptunRefusal.NoTrailer).Aggregate(0ul, (sum, c) => sum + Counter(c));

    private static void Send(CarrierQueue queue, byte[] frame, FptunCommand command, uint ifindex, uint mark = 0, ushort etherType = 0)
    {
        byte[] trailer = new byte[FptunTrailer.Size];
        FptunTrailer.Write(trailer, command, 0, ifindex, mark);
        fixed (byte* f = frame, t = trailer)
        {
            if (etherType == 0)
            {
                queue.Add(f, (uint)frame.Length, t);
            }
            else
            {
                queue.Add(f, (uint)frame.Length, t, etherType);
            }

            Assert.InRange(queue.Send(0), 0, 1);
            queue.Clear();
        }
    }

    private void SendPastTheHook(byte[] frame) => _ns.Inside(() =>
    {
        const int PACKET_QDISC_BYPASS = 20; // linux/if_packet.h
        using FileDescriptor s = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", Carrier.Name);
        int on = 1;
        LinuxException.ThrowIfNegative(Libc.setsockopt(s.Number, Libc.SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(int)), "setsockopt", "PACKET_QDISC_BYPASS");
        Libc.sockaddr_ll to = new() { sll_family = Libc.AF_PACKET, sll_ifindex = (int)_carrier.IfIndex };
        fixed (byte* p = frame)
        {
            LinuxException.ThrowIfNegative(Libc.sendto(s.Number, p, (nuint)frame.Length, 0, &to, (uint)sizeof(Libc.sockaddr_ll)), "sendto", Carrier.Name);
        }

        return true;
    });

    private static void SendRaw(CarrierQueue queue, byte[] whole)
    {
        fixed (byte* f = whole)
        {
            queue.Add(f, (uint)(whole.Length - FptunTrailer.Size), f + whole.Length - FptunTrailer.Size);
            _ = queue.Send(0);
            queue.Clear();
        }
    }

    /// <summary>IPv4, IPv6, ARP and something else, to the device's own address.</summary>
    private List<byte[]> Frames(string device)
    {
        byte[] to = device == "t0" ? [2, 0, 0, 0, 0, 1] : _ns.MacOf(device), from = [2, 0, 0, 0, 0, 9];
        return
        [
            Ether(Text(to), Text(from)).Ipv4("10.9.9.9", "10.9.9.1").Udp().Build(),
            Ether(Text(to), Text(from)).Ipv6("fd00::9", "fd00::1").Udp().Build(),
            [.. to, .. from, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2, .. from, 10, 9, 9, 9, .. to, 10, 9, 9, 1],
            [.. to, .. from, 0x88, 0xcc, .. new byte[46]],
        ];
    }

    private static string Text(byte[] mac) => string.Join(':', mac.Select(b => $"{b:x2}"));

    /// <summary>What a device receives.</summary>
    private sealed class Listener : IDisposable
    {
        private readonly FileDescriptor _socket;

        public Listener(LabNamespace ns, string device) => _socket = ns.Inside(() =>
        {
            FileDescriptor s = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", device);
            Libc.sockaddr_ll a = new() { sll_family = Libc.AF_PACKET, sll_protocol = 0x0300, sll_ifindex = (int)Libc.if_nametoindex(device) };
            LinuxException.ThrowIfNegative(Libc.bind(s.Number, &a, (uint)sizeof(Libc.sockaddr_ll)), "bind", device);
            return s;
        });

        /// <summary>Classic BPF: ld mark; jeq #mark, keep, drop.</summary>
        public void OnlyMarked(uint mark)
        {
            ulong* code = stackalloc ulong[] { (0xffff_f014ul << 32) | 0x20, ((ulong)mark << 32) | 0x0100_0015, (0xfffful << 32) | 0x06, 0x06 };
            ulong* program = stackalloc ulong[] { 4, (ulong)code };
            LinuxException.ThrowIfNegative(Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_ATTACH_FILTER, program, 16), "setsockopt", "SO_ATTACH_FILTER");
        }

        public (byte[] Bytes, ushort Protocol) Receive()
        {
            byte[] bytes = new byte[2000];
            Libc.sockaddr_ll a = default;
            Libc.pollfd poll = new() { fd = _socket.Number, events = Libc.POLLIN };
            Assert.True(Libc.poll(&poll, 1, 2000) > 0, "nothing was received");
            fixed (byte* p = bytes)
            {
                uint length = (uint)sizeof(Libc.sockaddr_ll);
                nint n = Libc.recvfrom(_socket.Number, p, (nuint)bytes.Length, 0, &a, &length);
                LinuxException.ThrowIfNegative(n, "recvfrom", "packet socket");
                return (bytes[..(int)n], BinaryPrimitives.ReverseEndianness(a.sll_protocol));
            }
        }

        public bool HasAny()
        {
            Libc.pollfd poll = new() { fd = _socket.Number, events = Libc.POLLIN };
            return Libc.poll(&poll, 1, 100) > 0;
        }

        public void Dispose() => _socket.Dispose();
    }
}
