using FastPathSync.Linux;
using FastPathSync.Packets.Filters;
using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.FastPath.Tests.Filters;

/// <summary>What filters answer: what the kernel answers.</summary>
public sealed unsafe class FilterInterpreterTests
{
    private const int PacketIgnoreOutgoing = 23; // linux/if_packet.h

    [Theory]
    [InlineData(BPF_LD | BPF_W | BPF_ABS, 4)]
    [InlineData(BPF_LD | BPF_H | BPF_ABS, 2)]
    [InlineData(BPF_LD | BPF_B | BPF_ABS, 1)]
    [InlineData(BPF_LD | BPF_W | BPF_IND, 4)]
    [InlineData(BPF_LD | BPF_H | BPF_IND, 2)]
    [InlineData(BPF_LD | BPF_B | BPF_IND, 1)]
    [InlineData(BPF_LDX | BPF_B | BPF_MSH, 1)]
    public void ALoadThatEndsBeyondThePacketDoesNotMatch(int code, int size)
    {
        FilterProgram program = Create([new((ushort)code, 0, 0, 7), new(BPF_RET | BPF_K, 0, 0, 99)]);
        byte[] packet = new byte[7 + size];
        Assert.Equal(99u, Run(program, packet));
        Assert.Equal(0u, Run(program, packet[1..]));
        Assert.Equal(0u, Run(program, []));
    }

    [Fact]
    public void WhatTheKernelKnowsOfAPacketComesFromItsContext()
    {
        PacketContext packet = new()
        {
            Protocol = 1,
            PacketType = 2,
            IfIndex = 3,
            HardwareType = 4,
            Mark = 5,
            QueueMapping = 6,
            Cpu = 7,
            RxHash = 8,
        };
        int[] loads =
        [
            SKF_AD_PROTOCOL, SKF_AD_PKTTYPE, SKF_AD_IFINDEX, SKF_AD_HATYPE, SKF_AD_MARK, SKF_AD_QUEUE, SKF_AD_CPU, SKF_AD_RXHASH,
            SKF_AD_VLAN_TAG, SKF_AD_VLAN_TAG_PRESENT, SKF_AD_VLAN_TPID,
        ];
        Assert.Equal(
            [1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 0u, 0u, 0u],
            loads.Select(l => Run(Create([new(BPF_LD | BPF_B | BPF_ABS, 0, 0, unchecked((uint)(SKF_AD_OFF + l))), new(BPF_RET | BPF_A, 0, 0, 0)]), packet)));
    }

    [Fact]
    public void RunsWithoutAllocation()
    {
        FilterProgram program = Create([new(BPF_ST, 0, 0, 3), new(BPF_LDX | BPF_MEM, 0, 0, 3), new(BPF_LD | BPF_W | BPF_IND, 0, 0, 0), new(BPF_RET | BPF_A, 0, 0, 0)]);
        byte* bytes = stackalloc byte[4];
        PacketContext packet = new() { Data = bytes, Length = 4 };
        _ = FilterInterpreter.Run(program, &packet);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            _ = FilterInterpreter.Run(program, &packet);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>A UNIX datagram socket obeys filters too, and its packets are nothing but bytes.</summary>
    [Fact]
    public void TheKernelAnswersTheSameToBytes()
    {
        const int Programs = 10_000;
        int* pair = stackalloc int[2];
        LinuxException.ThrowIfNegative(Libc.socketpair(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0, pair), "socketpair", "UNIX");
        using FileDescriptor from = new(pair[0]), to = new(pair[1]);
        Random random = new(1);
        RandomFilters filters = new(2, FilterReach.PacketOnly);
        int matches = 0, cut = 0;
        for (int i = 0; i < Programs; i++)
        {
            FilterInstruction[] instructions = filters.Next(i % 1000 == 0 ? 2000 : 1 + random.Next(40));
            FilterProgram program = Create(instructions);
            Assert.True(KernelJudge.TryAttach(to, instructions));
            byte[] packet = new byte[random.Next(4) == 0 ? random.Next(4) : random.Next(130)];
            random.NextBytes(packet);
            uint accepted = Run(program, packet);
            fixed (byte* p = packet)
            {
                LinuxException.ThrowIfNegative(Libc.send(from.Number, p, (nuint)packet.Length, 0), "send", "UNIX");
            }

            int? kernel = KernelJudge.Receive(to), ours = KernelJudge.Expected(accepted, (uint)packet.Length);
            Assert.True(kernel == ours, $"{packet.Length} bytes: the kernel gives {kernel}, we {ours}: {string.Join(' ', instructions)}");
            matches += ours is null ? 0 : 1;
            cut += ours < packet.Length ? 1 : 0;
        }

        Assert.InRange(matches, Programs / 4, Programs * 3 / 4);
        Assert.InRange(cut, Programs / 20, Programs);
    }

    /// <summary>Frames on a loopback device of our own, seen by both kinds of packet sockets.</summary>
    [Fact]
    public void TheKernelAnswersTheSameToFrames()
    {
        Assert.SkipUnless(Libc.geteuid() == 0, "needs root: a network namespace and packet sockets");
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                LinuxException.ThrowIfNegative(Libc.unshare(Libc.CLONE_NEWNET), "unshare", "network namespace");
                CompareOnLoopback();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        Assert.True(failure is null, failure?.ToString());
    }

    private static void CompareOnLoopback()
    {
        const int Programs = 5_000;
        const uint Mark = 0x1234;

        using FileDescriptor sender = PacketSocket(Libc.SOCK_RAW, bound: false);
        SetLoopbackUp(sender);

        // Who came first is served last: when the witness has the frame, both others have had it.
        using FileDescriptor witness = PacketSocket(Libc.SOCK_RAW), raw = PacketSocket(Libc.SOCK_RAW), cooked = PacketSocket(Libc.SOCK_DGRAM);
        SetOption(sender, Libc.SOL_SOCKET, 36, (int)Mark); // SO_MARK
        Random random = new(3);
        RandomFilters filters = new(4, FilterReach.Headers | FilterReach.Device);
        int matches = 0, different = 0;
        for (int i = 0; i < Programs; i++)
        {
            FilterInstruction[] instructions = filters.Next(1 + random.Next(40));
            FilterProgram program = Create(instructions);
            Assert.True(KernelJudge.TryAttach(raw, instructions) && KernelJudge.TryAttach(cooked, instructions));
            byte[] frame = new byte[14 + random.Next(random.Next(4) == 0 ? 4 : 100)];
            random.NextBytes(frame);
            bool toUs = random.Next(2) == 0;
            (frame[0], frame[12], frame[13]) = (2, 0x88, 0xb5); // EtherType for local experiments
            if (toUs)
            {
                frame.AsSpan(0, 6).Clear();
            }

            Send(sender, frame);
            Assert.Equal(frame.Length, WaitFor(witness));
            fixed (byte* p = frame)
            {
                PacketContext packet = new()
                {
                    Data = p,
                    Length = (uint)frame.Length,
                    NetworkOffset = 14,
                    Protocol = 0x88b5,
                    PacketType = toUs ? 0u : 3,
                    IfIndex = 1,
                    HardwareType = 772,
                    Mark = Mark,
                };
                PacketContext payload = packet with { Data = p + 14, Length = (uint)frame.Length - 14, LinkLayerOffset = -14, NetworkOffset = 0 };
                int? ours = KernelJudge.Expected(FilterInterpreter.Run(program, &packet), packet.Length);
                int? oursCooked = KernelJudge.Expected(FilterInterpreter.Run(program, &payload), payload.Length);
                int? kernel = KernelJudge.Receive(raw), kernelCooked = KernelJudge.Receive(cooked);
                Assert.True(
                    (kernel, kernelCooked) == (ours, oursCooked),
                    $"{frame.Length} bytes: the kernel gives {kernel} and {kernelCooked}, we {ours} and {oursCooked}: {string.Join(' ', instructions)}");
                matches += ours is null ? 0 : 1;
                different += ours is null == oursCooked is null ? 0 : 1;
            }
        }

        Assert.InRange(matches, Programs / 4, Programs * 3 / 4);
        Assert.InRange(different, Programs / 50, Programs);
    }

    private static FileDescriptor PacketSocket(int type, bool bound = true)
    {
        FileDescriptor socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, type | Libc.SOCK_CLOEXEC, 0), "socket", "AF_PACKET");
        if (bound)
        {
            SetOption(socket, Libc.SOL_PACKET, PacketIgnoreOutgoing, 1);
            Libc.sockaddr_ll loopback = Loopback();
            LinuxException.ThrowIfNegative(Libc.bind(socket.Number, &loopback, (uint)sizeof(Libc.sockaddr_ll)), "bind", "lo");
        }

        return socket;
    }

    private static void SetOption(FileDescriptor socket, int level, int name, int value) =>
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, level, name, &value, sizeof(int)), "setsockopt", $"{name}");

    private static Libc.sockaddr_ll Loopback() => new() { sll_family = Libc.AF_PACKET, sll_protocol = 0x0300, sll_ifindex = 1 };

    private static void SetLoopbackUp(FileDescriptor socket)
    {
        const nuint SIOCSIFFLAGS = 0x8914;
        byte* ifreq = stackalloc byte[40];
        new Span<byte>(ifreq, 40).Clear();
        (ifreq[0], ifreq[1], ifreq[16]) = ((byte)'l', (byte)'o', 1); // IFF_UP
        LinuxException.ThrowIfNegative(Libc.ioctl(socket.Number, SIOCSIFFLAGS, ifreq), "SIOCSIFFLAGS", "lo");
    }

    private static void Send(FileDescriptor socket, byte[] frame)
    {
        Libc.sockaddr_ll loopback = Loopback();
        fixed (byte* p = frame)
        {
            nint sent = Libc.sendto(socket.Number, p, (nuint)frame.Length, 0, &loopback, (uint)sizeof(Libc.sockaddr_ll));
            LinuxException.ThrowIfNegative(sent, "sendto", "lo");
        }
    }

    private static int WaitFor(FileDescriptor witness)
    {
        Libc.pollfd descriptor = new() { fd = witness.Number, events = Libc.POLLIN };
        Assert.Equal(1, Libc.Quiet.poll(&descriptor, 1, 5000));
        return KernelJudge.Receive(witness) ?? -1;
    }

    private static FilterProgram Create(FilterInstruction[] instructions)
    {
        Assert.True(FilterProgram.TryCreate(instructions, out FilterProgram? program, out string? error), error);
        return program;
    }

    private static uint Run(FilterProgram program, byte[] packet)
    {
        fixed (byte* p = packet)
        {
            return Run(program, new PacketContext() { Data = p, Length = (uint)packet.Length });
        }
    }

    private static uint Run(FilterProgram program, PacketContext packet) => FilterInterpreter.Run(program, &packet);
}
