using System.Diagnostics;
using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.Linux;
using FastPathSync.Packets;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Ports;

/// <summary>
/// left (10.1.0.2) - router (r0 10.1.0.1, r1 10.2.0.1) - right (10.2.0.2), as namespaces joined by veth; in the router a
/// real fast path with hand-made tables that beat as fpmd's do: 10.2.0.0/24 on-link through r1 with the neighbour 10.2.0.2, the rest punted.
/// </summary>
internal sealed unsafe class RouterLab : IDisposable
{
    private static int s_number;
    private readonly string _prefix = $"fp-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}";
    private readonly List<Segment> _segments = [];
    private readonly StoreServer _store;
    private readonly Thread _beat;
    private volatile bool _beats = true;
    private volatile bool _beatEnds;
    private readonly FileDescriptor _left;
    private readonly FileDescriptor _right;
    private Process? _fastPath;
    private Segment? _tries, _address, _nexthop;

    public RouterLab(int queues = 1)
    {
        Assert.SkipUnless(Libc.geteuid() == 0, "needs root: network namespaces and eBPF");
        Directory = Path.Combine(Path.GetTempPath(), _prefix);
        System.IO.Directory.CreateDirectory(Directory);
        foreach (string ns in (string[])["l", "r", "x"])
        {
            Run("ip", $"netns add {Ns(ns)}");
            Ip(ns, "link set lo up");
        }

        Pair("l", "l0", "r0", queues);
        Pair("x", "x0", "r1", queues);
        Ip("l", "link set l0 address 02:00:00:00:01:02 up");
        Ip("r", "link set r0 address 02:00:00:00:01:01 up");
        Ip("r", "link set r1 address 02:00:00:00:02:01 up");
        Ip("x", "link set x0 address 02:00:00:00:02:02 up");
        Ip("l", "addr add 10.1.0.2/24 dev l0");
        Ip("r", "addr add 10.1.0.1/24 dev r0");
        Ip("r", "addr add 10.2.0.1/24 dev r1");
        Ip("x", "addr add 10.2.0.2/24 dev x0");
        Ip("r", "neigh add 10.1.0.2 lladdr 02:00:00:00:01:02 dev r0 nud permanent");
        Ip("r", "neigh add 10.2.0.2 lladdr 02:00:00:00:02:02 dev r1 nud permanent");
        Run("ip", $"netns exec {Ns("r")} sh -c \"echo 1 >/proc/sys/net/ipv4/ip_forward\"");
        _store = new StoreServer(Path.Combine(Directory, "supervisor.sock"));
        MakeTables();
        _beat = new Thread(Beat) { IsBackground = true };
        _beat.Start();
        _left = PacketSocket("l", "l0");
        _right = PacketSocket("x", "x0");
    }

    public string Directory { get; }

    /// <summary>False: as if fpmd hung.</summary>
    public bool Beats { get => _beats; set => _beats = value; }

    public VrfState* Vrf { get; private set; }

    public PortState* Port(int i) => FastPathStateSegment.Port(_store.Attach(SegmentNames.FastPathState, SegmentKind.FastPathState), i);

    public FastPathState* State => FastPathStateSegment.State(_store.Attach(SegmentNames.FastPathState, SegmentKind.FastPathState));

    public WorkerState* Worker(int w = 0) => WorkerSegment.State(_store.Attach(SegmentNames.Worker(w), SegmentKind.Worker));

    public PortCounters* Counters(int port, int worker = 0) => WorkerSegment.Port(_store.Attach(SegmentNames.Worker(worker), SegmentKind.Worker), port);

    public int Pid => _fastPath!.Id;

    public void Ip(string ns, string arguments) => Run("ip", $"-n {Ns(ns)} {arguments}");

    public void Exec(string ns, string command) => Run("ip", $"netns exec {Ns(ns)} {command}");

    /// <summary>
    /// IPv6 beside IPv4, in Linux and in the tables: left fd01::2, router fd01::1 and fd02::1, right fd02::2; fd02::/64 on
    /// the way of 10.2.0.0/24. Before Start: a fast path that finds no IPv6 table leaves IPv6 to Linux.
    /// </summary>
    public void AddIpv6()
    {
        Ip("r", "addr add fd01::1/64 dev r0 nodad");
        Ip("r", "addr add fd02::1/64 dev r1 nodad");
        Ip("r", "neigh add fd01::2 lladdr 02:00:00:00:01:02 dev r0 nud permanent");
        Ip("r", "neigh add fd02::2 lladdr 02:00:00:00:02:02 dev r1 nud permanent");
        Exec("r", "sh -c \"echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\"");

        RecordTableWriter<AddressRecord> addresses = new(AddressSegment.Records(_address!), Capacities.Addresses);
        FibTrieWriter tries = new(_tries!, new Reclaimer(new StoredWorkers(new SegmentStore(Path.Combine(Directory, "supervisor.sock")))));
        int main = tries.Open(FibFamily.Ipv6, FibRoot.MainTable);
        NexthopSegment.Words(_nexthop!)[2] = NexthopWord.Punt(PuntReason.Local).Value;
        foreach (string text in (string[])["fd01::1", "fd02::1"])
        {
            IpAddress a = LabTables.Ip6(text);
            addresses.Write(addresses.Allocate(), new AddressRecord { Local = a, Peer = a, PrefixLength = 64 });
            AddressSegment.Filter6(_address!).Set(a);
            Assert.True(tries.TrySet(main, new FibKey(a.High, a.Low), 128, 2));
            Assert.True(tries.TrySet(main, new FibKey(a.High, 0), 128, 2)); // subnet-router anycast
        }

        Assert.True(tries.TrySet(main, new FibKey(LabTables.Ip6("fd02::").High, 0), 64, 1));
        Volatile.Write(ref Vrf->Change, Vrf->Change + 1);
    }

    /// <summary>Starts the program; returns when it is ready.</summary>
    public void Start(string arguments = "")
    {
        Launch($"--port r0 --port r1 {arguments}");
        ulong deadline = MonotonicClock.Nanoseconds + 15_000_000_000;
        while (!File.Exists(Path.Combine(Directory, "netfpc.sock")))
        {
            if (_fastPath!.HasExited || MonotonicClock.Nanoseconds > deadline)
            {
                Assert.Fail($"fastpath did not start: {_fastPath.StandardError.ReadToEnd()}");
            }

            Thread.Sleep(5);
        }

        Process p = _fastPath!;
        new Thread(() =>
        {
            try
            {
                while (p.StandardError.ReadLine() is string line)
                {
                    Log += line + "\n";
                }
            }
            catch (Exception e) when (e is InvalidOperationException or ObjectDisposedException)
            {
            }
        })
        { IsBackground = true }.Start();
    }

    public string Log { get; private set; } = "";

    /// <summary>Starts the program where it can't run: returns what it says, and its exit status.</summary>
    public (int Status, string Error) StartFailing(string arguments, string prefix = "", bool keep = false)
    {
        Process? running = _fastPath;
        using Process p = Launch(arguments, prefix);
        Task<string> all = p.StandardError.ReadToEndAsync();
        if (!p.WaitForExit(15_000))
        {
            p.Kill();
            Assert.Fail("fastpath started where it can't");
        }

        string error = all.Result;
        _fastPath = keep ? running : null;
        return (p.ExitCode, error);
    }

    public T InRouter<T>(Func<T> work) => NetworkNamespace.Run($"/run/netns/{Ns("r")}", work);

    public void Stop()
    {
        if (_fastPath is { HasExited: false } p)
        {
            _ = Libc.kill(p.Id, Libc.SIGTERM);
            if (!p.WaitForExit(10_000))
            {
                p.Kill();
                Assert.Fail("fastpath did not stop on SIGTERM");
            }
        }
    }

    public void Signal(int signal) => _ = Libc.kill(_fastPath!.Id, signal);

    public void WaitForDeath() => _fastPath!.WaitForExit(10_000);

    public void SendLeft(ReadOnlySpan<byte> frame) => Send(_left, frame);

    public void SendRight(ReadOnlySpan<byte> frame) => Send(_right, frame);

    /// <summary>The next frame that the filter takes, or null.</summary>
    public byte[]? ReceiveRight(Func<byte[], bool> filter, int milliseconds = 1000) => Receive(_right, filter, milliseconds);

    public byte[]? ReceiveLeft(Func<byte[], bool> filter, int milliseconds = 1000) => Receive(_left, filter, milliseconds);

    public static bool Eventually(Func<bool> condition, int milliseconds = 2000)
    {
        ulong deadline = MonotonicClock.Nanoseconds + ((ulong)milliseconds * 1_000_000);
        while (!condition())
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                return false;
            }

            Thread.Sleep(2);
        }

        return true;
    }

    public void Dispose()
    {
        if (_fastPath is { HasExited: false } p)
        {
            p.Kill();
            p.WaitForExit();
        }

        _beatEnds = true; // before the namespace goes, in which it looks for the ports
        _beat?.Join();
        _left?.Dispose();
        _right?.Dispose();
        _store?.Dispose();
        foreach (string ns in (string[])["l", "r", "x"])
        {
            Run("ip", $"netns del {Ns(ns)}");
        }

        System.IO.Directory.Delete(Directory, recursive: true);
        _segments.ForEach(s => s.Dispose());
    }

    private void Beat()
    {
        for (; !_beatEnds; Thread.Sleep(100))
        {
            if (_beats)
            {
                NamePorts();
                _segments.ForEach(s => s.Beat());
            }
        }
    }

    /// <summary>As fpmd does when cmgrd tells of an interface.</summary>
    private void NamePorts() => NetworkNamespace.Run($"/run/netns/{Ns("r")}", () =>
    {
        for (int port = 0; port < 2; port++)
        {
            uint now = Libc.if_nametoindex($"r{port}");
            if (Vrf->PortIfIndex[port] != now)
            {
                Volatile.Write(ref Vrf->PortIfIndex[port], now);
                Volatile.Write(ref Vrf->Change, Vrf->Change + 1);
            }
        }

        return true;
    });

    private string Ns(string name) => $"{_prefix}-{name}";

    private void Pair(string ns, string host, string port, int queues)
    {
        string q = $"numtxqueues {queues} numrxqueues {queues}";
        Run("ip", $"link add {host} netns {Ns(ns)} {q} type veth peer name {port} netns {Ns("r")} {q}");
        Run("ip", $"netns exec {Ns(ns)} ethtool -K {host} tx off");
        Run("ip", $"netns exec {Ns(ns)} sh -c \"echo 1 >/proc/sys/net/ipv6/conf/{host}/disable_ipv6\"");
    }

    private Process Launch(string arguments, string prefix = "")
    {
        ProcessStartInfo i = new("ip", $"netns exec {Ns("r")} {prefix} {Path.Combine(AppContext.BaseDirectory, "fastpath")} --directory {Directory} {arguments}")
        {
            RedirectStandardError = true,
        };
        return _fastPath = Process.Start(i)!;
    }

    private FileDescriptor PacketSocket(string ns, string device) => NetworkNamespace.Run($"/run/netns/{Ns(ns)}", () =>
    {
        const ushort EverythingBigEndian = 0x0300; // ETH_P_ALL
        FileDescriptor fd = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", device);
        Libc.sockaddr_ll a = new() { sll_family = Libc.AF_PACKET, sll_protocol = EverythingBigEndian, sll_ifindex = (int)Libc.if_nametoindex(device) };
        LinuxException.ThrowIfNegative(Libc.bind(fd.Number, &a, (uint)sizeof(Libc.sockaddr_ll)), "bind", device);
        int size = 64 << 20;
        _ = Libc.setsockopt(fd.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &size, sizeof(int));
        return fd;
    });

    private static void Send(FileDescriptor socket, ReadOnlySpan<byte> frame)
    {
        fixed (byte* p = frame)
        {
            LinuxException.ThrowIfNegative(Libc.send(socket.Number, p, (nuint)frame.Length, 0), "send", "frame");
        }
    }

    private static byte[]? Receive(FileDescriptor socket, Func<byte[], bool> filter, int milliseconds)
    {
        byte[] buffer = new byte[65536];
        ulong deadline = MonotonicClock.Nanoseconds + ((ulong)milliseconds * 1_000_000);
        while (MonotonicClock.Nanoseconds < deadline)
        {
            Libc.pollfd fd = new() { fd = socket.Number, events = Libc.POLLIN };
            if (Libc.poll(&fd, 1, (int)((deadline - MonotonicClock.Nanoseconds) / 1_000_000) + 1) <= 0)
            {
                continue;
            }

            nint n;
            fixed (byte* p = buffer)
            {
                n = Libc.recv(socket.Number, p, (nuint)buffer.Length, Libc.MSG_DONTWAIT);
            }

            if (n > 0 && buffer[..(int)n] is byte[] frame && filter(frame))
            {
                return frame;
            }
        }

        return null;
    }

    private static void Run(string program, string arguments)
    {
        using Process p = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        string output = p.StandardOutput.ReadToEnd();
        string error = p.StandardError.ReadToEnd();
        p.WaitForExit();
        Assert.True(p.ExitCode == 0, $"{program} {arguments}: {error}{output}");
    }

    private Segment Make(string name, SegmentKind kind, nuint length)
    {
        Segment s = Segment.Create(name, kind, (ulong)VrfSizes.Full.Of(kind), length);
        _segments.Add(s);
        _store.Put(s);
        return s;
    }

    private void MakeTables()
    {
        Segment vrf = Make(SegmentNames.Vrf, SegmentKind.Vrf, VrfSegment.BodyLength);
        Vrf = VrfSegment.State(vrf);
        _ = Make(SegmentNames.Interface, SegmentKind.Interface, RecordTable.BytesFor<InterfaceRecord>(Capacities.Interfaces));
        Segment address = Make(SegmentNames.Address, SegmentKind.Address, AddressSegment.BodyLength);
        _ = Make(SegmentNames.Route, SegmentKind.Route, RecordTable.BytesFor<RouteRecord>(Capacities.Routes));
        _ = Make(SegmentNames.Route6, SegmentKind.Route6, RecordTable.BytesFor<Route6Record>(Capacities.Routes6));
        Segment nexthop = Make(SegmentNames.Nexthop, SegmentKind.Nexthop, NexthopSegment.BodyLength);
        _ = Make(SegmentNames.Neighbour, SegmentKind.Neighbour, NeighbourSegment.BodyLength);
        Segment adjacency = Make(SegmentNames.Adjacency, SegmentKind.Adjacency, AdjacencySegment.BodyLength);
        (_address, _nexthop) = (address, nexthop);
        Segment fib = Make(SegmentNames.Fib4, SegmentKind.Fib4, Fib4Segment.BodyLength);
        _ = Make(SegmentNames.Rule, SegmentKind.Rule, RuleSegment.BodyLength);
        _ = Make(SegmentNames.Capture, SegmentKind.Capture, CaptureSegment.BodyLength);
        _tries = Make(SegmentNames.FibTrie, SegmentKind.FibTrie, FibTrieSegment.BodyLength(Capacities.FibTrieUnits));
        _ = Make(SegmentNames.UseStamps, SegmentKind.UseStamps, UseStampSegment.BodyLength);

        RecordTableWriter<AddressRecord> addresses = new(AddressSegment.Records(address), Capacities.Addresses);
        foreach (uint local in (uint[])[0x0a010001, 0x0a020001])
        {
            addresses.Write(addresses.Allocate(), new AddressRecord { Local = IpAddress.FromV4(local), Peer = IpAddress.FromV4(local), PrefixLength = 24 });
            AddressSegment.Filter4(address).Set(IpAddress.FromV4(local));
        }

        ulong to = Mac(2, 2), from = Mac(2, 1);
        AdjacencySegment.Table(adjacency)[1] = new Adjacency
        {
            MacLow = to | (from << 48),
            MacHigh = (uint)(from >> 16),
            PortId = 1,
            Mtu = 1500,
            Address = IpAddress.FromV4(0x0a020002),
        };
        NexthopSegment.Words(nexthop)[1] = NexthopWord.Forward(1, 1500).Value;
        Fib4Segment.Table24(fib)[0x0a0200] = 1 | (24u << Fib4Reader.DepthShift);
        Vrf->PortCount = 2;
        Vrf->EverSynchronized = 1;
        NamePorts();
    }

    /// <summary>02:00:00:00:SEGMENT:HOST, first byte lowest.</summary>
    private static ulong Mac(byte segment, byte host) => 0x02 | ((ulong)segment << 32) | ((ulong)host << 40);
}

/// <summary>Frames as the hosts of the lab send them.</summary>
internal static class LabFrames
{
    /// <summary>UDP from 10.1.0.2 to a destination, through the router.</summary>
    public static byte[] Udp(uint destination = 0x0a020002, byte ttl = 64, ushort id = 1, int payload = 32)
    {
        byte[] f = new byte[14 + 20 + 8 + payload];
        new byte[] { 2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2, 8, 0, 0x45, 0 }.CopyTo(f, 0);
        Put16(f, 16, (ushort)(28 + payload));
        Put16(f, 18, id);
        f[22] = ttl;
        f[23] = 17;
        Put32(f, 26, 0x0a010002);
        Put32(f, 30, destination);
        Put16(f, 34, 1234);
        Put16(f, 36, 5678);
        Put16(f, 38, (ushort)(8 + payload));
        Put16(f, 24, Checksum(f.AsSpan(14, 20)));
        for (int i = 0; i < payload; i++)
        {
            f[42 + i] = (byte)i;
        }

        return f;
    }

    /// <summary>What the router makes of it on its way to 10.2.0.2.</summary>
    public static byte[] Forwarded(byte[] sent)
    {
        byte[] f = [.. sent];
        new byte[] { 2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 1 }.CopyTo(f, 0);
        f[22]--;
        Put16(f, 24, 0);
        Put16(f, 24, Checksum(f.AsSpan(14, 20)));
        return f;
    }

    /// <summary>UDP over IPv6 from fd01::2 to a destination, through the router.</summary>
    public static byte[] Udp6(string destination = "fd02::2", int hopLimit = 64, int payload = 32, string source = "fd01::2") =>
        Ether("02:00:00:00:01:01", "02:00:00:00:01:02").Ipv6(source, destination, hopLimit).Udp(1234, 5678).Payload(payload).Build();

    /// <summary>What the router makes of it on its way to fd02::2.</summary>
    public static byte[] Forwarded6(byte[] sent)
    {
        byte[] f = [.. sent];
        new byte[] { 2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 1 }.CopyTo(f, 0);
        f[21]--;
        return f;
    }

    public static bool IsUdp6(byte[] f) => f.Length > 62 && f[12] == 0x86 && f[13] == 0xdd && f[20] == IpProtocol.Udp;

    public static bool IsIcmpv6(byte[] f, byte type) => f.Length > 62 && f[12] == 0x86 && f[13] == 0xdd && f[20] == IpProtocol.Icmpv6 && f[54] == type;

    public static bool IsIcmp(byte[] f, byte type) => f.Length > 34 && f[12] == 8 && f[13] == 0 && f[23] == 1 && f[34] == type;

    public static bool IsUdp(byte[] f) => f.Length > 42 && f[12] == 8 && f[13] == 0 && f[23] == 17;

    private static void Put16(byte[] f, int at, ushort v) => System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(f.AsSpan(at), v);

    private static void Put32(byte[] f, int at, uint v) => System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(f.AsSpan(at), v);

    private static ushort Checksum(ReadOnlySpan<byte> header)
    {
        uint sum = 0;
        for (int i = 0; i < header.Length; i += 2)
        {
            sum += (uint)((header[i] << 8) | header[i + 1]);
        }

        while (sum >> 16 != 0)
        {
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return (ushort)~sum;
    }
}
