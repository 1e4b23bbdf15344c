using System.Diagnostics;
using FastPathSync.Linux;

namespace FastPathSync.Differential;

internal enum Side
{
    Kernel,
    Product,
}

/// <summary>A frame that a router sent, on which of its ports.</summary>
internal sealed record Emission(int Port, byte[] Bytes);

/// <summary>
/// The far ends of all cables of both routers: sends frames as they are, collects what the routers send, and answers for
/// the hosts (<see cref="Hosts"/>), all of it by packet sockets in one namespace whose own stack has no addresses.
/// </summary>
internal sealed unsafe class Wire : IDisposable
{
    private const ushort EthPAll = 0x0300; // htons(ETH_P_ALL)
    private const int PACKET_IGNORE_OUTGOING = 23, PACKET_QDISC_BYPASS = 20; // linux/if_packet.h
    private readonly FileDescriptor[] _sockets;
    private readonly Lock _lock = new();
    private readonly List<Emission>[] _frames = [[], []];
    private readonly Thread _thread;
    private long _lastFrame = Stopwatch.GetTimestamp();
    private volatile bool _stop;

    public Wire(LabNamespace ns, int ports)
    {
        Ports = ports;
        _sockets = ns.Inside(() => Enumerable.Range(0, ports * 2).Select(i => Open(NameOf((Side)(i / ports), i % ports))).ToArray());
        _thread = new Thread(Receive) { IsBackground = true, Name = "wire" };
        _thread.Start();
    }

    public int Ports { get; }

    public static string NameOf(Side side, int port) => $"{(side == Side.Kernel ? 'a' : 'b')}{port}";

    /// <summary>When the last frame of a router came, noise not counted.</summary>
    public TimeSpan QuietFor => Stopwatch.GetElapsedTime(Volatile.Read(ref _lastFrame));

    /// <summary>False when the cable is down.</summary>
    public bool Send(Side side, int port, ReadOnlySpan<byte> frame) => Send(_sockets[((int)side * Ports) + port], frame);

    public int Count(Side side)
    {
        lock (_lock)
        {
            return _frames[(int)side].Count;
        }
    }

    /// <summary>A copy of what has come since the last Clear.</summary>
    public List<Emission> Peek(Side side)
    {
        lock (_lock)
        {
            return [.. _frames[(int)side]];
        }
    }

    public void Clear()
    {
        lock (_lock)
        {
            _frames[0].Clear();
            _frames[1].Clear();
        }
    }

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        foreach (FileDescriptor socket in _sockets)
        {
            socket.Dispose();
        }
    }

    private static FileDescriptor Open(string ifname)
    {
        FileDescriptor socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", "AF_PACKET");
        int on = 1, bytes = 16 << 20;
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, Libc.SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(int)), "setsockopt", "PACKET_IGNORE_OUTGOING");
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, Libc.SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(int)), "setsockopt", "PACKET_QDISC_BYPASS");
        LinuxException.ThrowIfNegative(Libc.setsockopt(socket.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &bytes, sizeof(int)), "setsockopt", "SO_RCVBUFFORCE");
        Libc.sockaddr_ll address = new() { sll_family = Libc.AF_PACKET, sll_protocol = EthPAll, sll_ifindex = (int)Libc.if_nametoindex(ifname) };
        LinuxException.ThrowIfNegative(Libc.bind(socket.Number, &address, (uint)sizeof(Libc.sockaddr_ll)), "bind", ifname);
        return socket;
    }

    private static bool Send(FileDescriptor socket, ReadOnlySpan<byte> frame)
    {
        fixed (byte* p = frame)
        {
            // A socket whose interface went down reports that once, in place of what it was asked for.
            return Libc.send(socket.Number, p, (nuint)frame.Length, 0) >= 0 || Libc.send(socket.Number, p, (nuint)frame.Length, 0) >= 0;
        }
    }

    private void Receive()
    {
        byte* buffer = stackalloc byte[65536];
        Libc.pollfd* poll = stackalloc Libc.pollfd[_sockets.Length];
        while (!_stop)
        {
            for (int i = 0; i < _sockets.Length; i++)
            {
                poll[i] = new Libc.pollfd { fd = _sockets[i].Number, events = Libc.POLLIN };
            }

            if (Libc.poll(poll, (nuint)_sockets.Length, 50) <= 0)
            {
                continue;
            }

            for (int i = 0; i < _sockets.Length; i++)
            {
                nint n;
                while (poll[i].revents != 0 && (n = Libc.recv(_sockets[i].Number, buffer, 65536, Libc.MSG_DONTWAIT)) >= 0)
                {
                    Accept(i, new ReadOnlySpan<byte>(buffer, (int)n));
                }
            }
        }
    }

    private void Accept(int socket, ReadOnlySpan<byte> frame)
    {
        if (Hosts.AnswerTo(frame) is byte[] answer)
        {
            Send(_sockets[socket], answer);
        }

        if (Noise.Is(frame))
        {
            return;
        }

        Volatile.Write(ref _lastFrame, Stopwatch.GetTimestamp());
        lock (_lock)
        {
            _frames[socket / Ports].Add(new Emission(socket % Ports, frame.ToArray()));
        }
    }
}
