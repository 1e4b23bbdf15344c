using System.Buffers;
using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.Netlink;

/// <summary>Called for each message of a dump or of an event datagram.</summary>
public delegate void NetlinkMessageHandler(scoped in NetlinkMessage message);

/// <summary>
/// A netlink socket of the namespace in which it was opened. One thread at a time for requests; receiving events from
/// another thread than the one that asks needs a socket of its own.
/// </summary>
public sealed unsafe class NetlinkSocket : IDisposable
{
    public const int NETLINK_ROUTE = 0, NETLINK_SOCK_DIAG = 4, NETLINK_XFRM = 6, NETLINK_NETFILTER = 12;

    /// <summary>Of what one recv may bring. Lent only while an answer is awaited: a thousand idle sockets need none.</summary>
    private const int BufferSize = 256 * 1024;

    private const int NETLINK_ADD_MEMBERSHIP = 1, NETLINK_EXT_ACK = 11, NETLINK_GET_STRICT_CHK = 12;
    private readonly FileDescriptor _fd;
    private readonly string _name;
    private uint _sequence;

    public NetlinkSocket(int protocol)
    {
        _name = $"netlink protocol {protocol}";
        _fd = FileDescriptor.FromCall(Libc.socket(Libc.AF_NETLINK, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, protocol), "socket", _name);
        SetOption(NETLINK_EXT_ACK, 1, required: false);
        Libc.sockaddr_nl a = new() { nl_family = Libc.AF_NETLINK };
        LinuxException.ThrowIfNegative(Libc.bind(_fd.Number, &a, (uint)sizeof(Libc.sockaddr_nl)), "bind", _name);
    }

    /// <summary>For poll().</summary>
    public int Descriptor => _fd.Number;

    /// <summary>Joins a multicast group (RTNLGRP_*, NFNLGRP_*, XFRMNLGRP_*).</summary>
    public void Join(int group) => SetOption(NETLINK_ADD_MEMBERSHIP, group, required: true);

    /// <summary>NETLINK_GET_STRICT_CHK: dumps honour the filter in their request (rtnetlink, kernel 4.20).</summary>
    public bool TryStrictChecking() => SetOption(NETLINK_GET_STRICT_CHK, 1, required: false);

    /// <summary>Bytes as the kernel accounts them, twice what was asked for (socket(7), SO_RCVBUF).</summary>
    public int ReceiveBuffer
    {
        get
        {
            int bytes = 0;
            uint length = sizeof(int);
            LinuxException.ThrowIfNegative(Libc.getsockopt(_fd.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUF, &bytes, &length), "SO_RCVBUF", _name);
            return bytes;
        }
    }

    /// <summary>SO_RCVBUFFORCE, falling back to SO_RCVBUF where CAP_NET_ADMIN of the first namespace is missing.</summary>
    public void SetReceiveBuffer(int bytes)
    {
        if (Libc.setsockopt(_fd.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &bytes, 4) < 0)
        {
            LinuxException.ThrowIfNegative(Libc.setsockopt(_fd.Number, Libc.SOL_SOCKET, Libc.SO_RCVBUF, &bytes, 4), "SO_RCVBUF", _name);
        }
    }

    /// <summary>
    /// Receives one datagram of events into <paramref name="buffer"/>. Returns its length, 0 when interrupted, or a
    /// negative errno: -ENOBUFS says that events were lost and a resync is due; -EAGAIN that none is waiting.
    /// </summary>
    public int ReceiveEvents(Span<byte> buffer, bool wait)
    {
        fixed (byte* p = buffer)
        {
            nint n = Libc.recv(_fd.Number, p, (nuint)buffer.Length, Libc.MSG_TRUNC | (wait ? 0 : Libc.MSG_DONTWAIT));
            if (n < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                return errno == Errno.EINTR ? 0 : -errno;
            }

            return n > buffer.Length ? -Errno.ENOBUFS : (int)n; // a truncated datagram is a lost one
        }
    }

    /// <summary>Sends a dump request and hands each message to <paramref name="handler"/>.</summary>
    /// <returns>False when the kernel said that the dump was interrupted by a change (NLM_F_DUMP_INTR): ask again.</returns>
    /// <exception cref="LinuxException">The kernel refused; the extended acknowledgement's text is in Object.</exception>
    public bool Dump(NetlinkRequest request, NetlinkMessageHandler handler)
    {
        uint sequence = Send(request);
        bool consistent = true;
        using Lent buffer = new();
        while (true)
        {
            int n = Receive(buffer.Bytes);
            foreach (NetlinkMessage m in new NetlinkMessages(buffer.Bytes.AsSpan(0, n)))
            {
                if (m.Header.Sequence != sequence)
                {
                    continue;
                }

                consistent &= (m.Flags & Nlm.NLM_F_DUMP_INTR) == 0;
                switch (m.Type)
                {
                    case Nlm.NLMSG_DONE:
                        int status = m.Payload.Length >= 4 ? MemoryMarshal.Read<int>(m.Payload) : 0;
                        return status < 0 ? throw Failure(-status, m) : consistent;
                    case Nlm.NLMSG_ERROR:
                        int errno = m.Payload.Length >= 4 ? -MemoryMarshal.Read<int>(m.Payload) : Errno.EPROTO;
                        throw Failure(errno, m);
                    default:
                        handler(in m);
                        break;
                }
            }
        }
    }

    /// <summary>Dumps until the kernel says that nothing changed meanwhile; <paramref name="restart"/> is called before each try.</summary>
    public void DumpConsistently(Func<NetlinkRequest> request, Action restart, NetlinkMessageHandler handler, int tries = 10)
    {
        for (int i = 0; ; i++)
        {
            restart();
            if (Dump(request(), handler) || i == tries - 1)
            {
                return; // events that came meanwhile are replayed by whoever subscribed first
            }
        }
    }

    /// <summary>Sends one request (with NLM_F_ACK) and returns the kernel's errno, 0 for success.</summary>
    public int Acknowledge(NetlinkRequest request) => Exchange(request, null);

    /// <summary>Sends one request and hands the answer messages over, up to the acknowledgement. Returns errno or 0.</summary>
    public int Exchange(NetlinkRequest request, NetlinkMessageHandler? handler)
    {
        uint sequence = Send(request);
        using Lent buffer = new();
        while (true)
        {
            int n = Receive(buffer.Bytes);
            foreach (NetlinkMessage m in new NetlinkMessages(buffer.Bytes.AsSpan(0, n)))
            {
                if (m.Header.Sequence != sequence)
                {
                    continue;
                }

                if (m.Type == Nlm.NLMSG_ERROR)
                {
                    return m.Payload.Length >= 4 ? -MemoryMarshal.Read<int>(m.Payload) : Errno.EPROTO;
                }

                if (m.Type == Nlm.NLMSG_DONE)
                {
                    return 0;
                }

                handler?.Invoke(in m);
            }
        }
    }

    /// <summary>
    /// Sends a batch of requests in one datagram, each begun with NLM_F_ACK, and waits for all acknowledgements: the
    /// errno of message i (0 for success) comes to results[i]. All answers must fit into the receive buffer.
    /// </summary>
    public void AcknowledgeBatch(NetlinkRequest request, Span<int> results)
    {
        uint first = _sequence + 1;
        int left = request.SetSequences(first);
        if (left != results.Length)
        {
            throw new ArgumentException($"{left} messages, {results.Length} results", nameof(results));
        }

        _sequence += (uint)left;
        SendBytes(request.Bytes);
        using Lent buffer = new();
        while (left > 0)
        {
            int n = Receive(buffer.Bytes);
            foreach (NetlinkMessage m in new NetlinkMessages(buffer.Bytes.AsSpan(0, n)))
            {
                uint i = m.Header.Sequence - first;
                if (m.Type == Nlm.NLMSG_ERROR && i < (uint)results.Length)
                {
                    results[(int)i] = m.Payload.Length >= 4 ? -MemoryMarshal.Read<int>(m.Payload) : Errno.EPROTO;
                    left--;
                }
            }
        }
    }

    /// <summary>Sends what was built, without waiting for anything.</summary>
    public uint Send(NetlinkRequest request)
    {
        request.SetSequence(++_sequence);
        SendBytes(request.Bytes);
        return _sequence;
    }

    public void Dispose() => _fd.Dispose();

    private static LinuxException Failure(int errno, in NetlinkMessage m) => new(errno, "netlink", ExtendedText(in m) ?? "request");

    /// <summary>NLMSGERR_ATTR_MSG of an extended acknowledgement.</summary>
    private static string? ExtendedText(in NetlinkMessage m)
    {
        const ushort NLM_F_ACK_TLVS = 0x200, NLM_F_CAPPED = 0x100, NLMSGERR_ATTR_MSG = 1;
        if (m.Type != Nlm.NLMSG_ERROR || (m.Flags & NLM_F_ACK_TLVS) == 0 || m.Payload.Length < 20)
        {
            return null;
        }

        int echoed = (m.Flags & NLM_F_CAPPED) != 0 ? Nlm.HeaderSize : (int)MemoryMarshal.Read<uint>(m.Payload[4..]);
        foreach (NetlinkAttribute a in m.Attributes(4 + Nlm.Align(Math.Clamp(echoed, 0, m.Payload.Length - 4))))
        {
            if (a.Type == NLMSGERR_ATTR_MSG)
            {
                return a.Text;
            }
        }

        return null;
    }

    private void SendBytes(ReadOnlySpan<byte> bytes)
    {
        fixed (byte* p = bytes)
        {
            LinuxException.ThrowIfNegative(Libc.send(_fd.Number, p, (nuint)bytes.Length, 0), "send", _name);
        }
    }

    private readonly struct Lent() : IDisposable
    {
        public byte[] Bytes { get; } = ArrayPool<byte>.Shared.Rent(BufferSize);

        public void Dispose() => ArrayPool<byte>.Shared.Return(Bytes);
    }

    private int Receive(byte[] buffer)
    {
        while (true)
        {
            int n = ReceiveEvents(buffer, wait: true);
            if (n > 0)
            {
                return n;
            }

            if (n < 0)
            {
                throw new LinuxException(-n, "recv", _name);
            }
        }
    }

    private bool SetOption(int option, int value, bool required)
    {
        int r = Libc.setsockopt(_fd.Number, Libc.SOL_NETLINK, option, &value, 4);
        if (required)
        {
            LinuxException.ThrowIfNegative(r, $"setsockopt {option} {value}", _name);
        }

        return r == 0;
    }
}
