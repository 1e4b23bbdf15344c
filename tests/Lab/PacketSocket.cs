using System.Diagnostics;
using FastPathSync.Linux;

namespace FastPathSync.Labs;

/// <summary>A frame as it came in, and when (Stopwatch ticks).</summary>
public sealed record CapturedFrame(long Ticks, byte[] Bytes);

/// <summary>
/// A packet socket on one interface of a lab: sends whole Ethernet frames as they are, and collects the frames of one
/// EtherType that come in (not those that go out).
/// </summary>
public sealed unsafe class PacketSocket : IDisposable
{
    private const ushort EthPAll = 0x0300; // htons(ETH_P_ALL)
    private const int PACKET_IGNORE_OUTGOING = 23; // linux/if_packet.h
    private const int ReceiveBufferBytes = 64 << 20;
    private const int StopMilliseconds = 5; // so long Dispose waits for the receiver
    private readonly FileDescriptor _socket;
    private readonly ushort _etherType;
    private readonly Thread _receiver;
    private readonly List<CapturedFrame> _frames = [];
    private volatile bool _stop;

    private PacketSocket(FileDescriptor socket, ushort etherType)
    {
        _socket = socket;
        _etherType = etherType;
        _receiver = new Thread(Receive) { IsBackground = true, Name = "packet-socket" };
        _receiver.Start();
    }

    public static PacketSocket Open(LabNamespace ns, string ifname, ushort etherType = 0x0800) => new(OpenSocket(ns, ifname), etherType);

    private static FileDescriptor OpenSocket(LabNamespace ns, string ifname) => ns.Inside(() =>
    {
        FileDescriptor socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", "AF_PACKET");
        int on = 1, bytes = ReceiveBufferBytes;
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, Libc.SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(int)), "setsockopt", "PACKET_IGNORE_OUTGOING");
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &bytes, sizeof(int)), "setsockopt", "SO_RCVBUFFORCE");
        Libc.sockaddr_ll address = new() { sll_family = Libc.AF_PACKET, sll_protocol = EthPAll, sll_ifindex = (int)Libc.if_nametoindex(ifname) };
        LinuxException.ThrowIfNegative(Libc.bind(socket.Number, &address, (uint)sizeof(Libc.sockaddr_ll)), "bind", ifname);
        return socket;
    });

    public void Send(ReadOnlySpan<byte> frame)
    {
        fixed (byte* p = frame)
        {
            LinuxException.ThrowIfNegative(Libc.send(_socket.Number, p, (nuint)frame.Length, 0), "send", $"frame of {frame.Length} bytes");
        }
    }

    /// <summary>Sends them at most at this rate, so that no queue on the way (netdev_max_backlog: 1000) overflows.</summary>
    public void Send(IEnumerable<byte[]> frames, int packetsPerSecond)
    {
        Stopwatch clock = Stopwatch.StartNew();
        int n = 0;
        foreach (byte[] frame in frames)
        {
            while (clock.Elapsed.TotalSeconds * packetsPerSecond < n)
            {
                Thread.Sleep(1);
            }

            Send(frame);
            n++;
        }
    }

    public int Count
    {
        get
        {
            lock (_frames)
            {
                return _frames.Count;
            }
        }
    }

    /// <summary>Takes what has come so far.</summary>
    public List<CapturedFrame> Take()
    {
        lock (_frames)
        {
            List<CapturedFrame> taken = [.. _frames];
            _frames.Clear();
            return taken;
        }
    }

    /// <summary>Takes what has come once nothing more comes for a while (or all that was expected has).</summary>
    public List<CapturedFrame> TakeWhenQuiet(int expected = int.MaxValue, double quietSeconds = 0.3, double limitSeconds = 5)
    {
        WaitQuiet([this], expected, quietSeconds, limitSeconds);
        return Take();
    }

    /// <summary>Until nothing more comes to any of them for a while, or all that was expected has come to them together.</summary>
    public static void WaitQuiet(ReadOnlySpan<PacketSocket> sockets, int expected = int.MaxValue, double quietSeconds = 0.3, double limitSeconds = 5)
    {
        Stopwatch clock = Stopwatch.StartNew();
        int last = CountOf(sockets);
        double changed = 0;
        while (clock.Elapsed.TotalSeconds < limitSeconds && clock.Elapsed.TotalSeconds - changed < (last >= expected ? 0.05 : quietSeconds))
        {
            Thread.Sleep(5);
            if (CountOf(sockets) is int count && count != last)
            {
                last = count;
                changed = clock.Elapsed.TotalSeconds;
            }
        }

        static int CountOf(ReadOnlySpan<PacketSocket> sockets)
        {
            int count = 0;
            foreach (PacketSocket socket in sockets)
            {
                count += socket.Count;
            }

            return count;
        }
    }

    public void Dispose()
    {
        _stop = true;
        _receiver.Join();
        _socket.Dispose();
    }

    private void Receive()
    {
        byte* buffer = stackalloc byte[65536];
        Libc.pollfd poll = new() { fd = _socket.Number, events = Libc.POLLIN };
        while (!_stop)
        {
            poll.revents = 0;
            if (Libc.poll(&poll, 1, StopMilliseconds) <= 0)
            {
                continue;
            }

            nint n;
            while ((n = Libc.recv(_socket.Number, buffer, 65536, Libc.MSG_DONTWAIT)) > 0)
            {
                long now = Stopwatch.GetTimestamp();
                if (n >= 14 && ((buffer[12] << 8) | buffer[13]) == _etherType)
                {
                    lock (_frames)
                    {
                        _frames.Add(new CapturedFrame(now, new ReadOnlySpan<byte>(buffer, (int)n).ToArray()));
                    }
                }
            }
        }
    }
}
