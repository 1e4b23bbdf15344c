using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>
/// Hands a worker's exceptions to Linux, up to 64 per system call, each frame as it lies in the UMEM with its port's
/// trailer behind: through a packet socket on fpn0 (whose tc egress hook delivers them), or, with --punt tap, written to
/// the TAP one by one.
/// </summary>
internal sealed unsafe class Injector : IDisposable
{
    private const int SendBuffer = 8 << 20;

    /// <summary>So many frames refused one after another, and the kernel is taken to have no room for the rest either.</summary>
    private const int Patience = 8;

    /// <summary>
    /// IEEE 802 Local Experimental EtherType, big-endian: under its own protocol the packet socket would look for a
    /// transport header (packet_parse_headers), and bpf_skb_change_tail refuses to cut a tail that a lying header
    /// length reaches into. The real one is found again when the frame is received (eth_type_trans).
    /// </summary>
    private const ushort NobodysProtocol = 0xb588;

    private readonly FileDescriptor? _socket;
    private readonly FileDescriptor? _tap;
    private readonly PortTrailers _trailers;
    private readonly Libc.mmsghdr* _messages;
    private readonly Libc.iovec* _parts;
    private readonly byte* _reasons;

    /// <param name="tap">With --punt tap: where to write.</param>
    public Injector(uint carrierIfIndex, FileDescriptor? tap, PortTrailers trailers)
    {
        _tap = tap;
        _trailers = trailers;
        _messages = (Libc.mmsghdr*)NativeMemory.AlignedAlloc((nuint)(PacketVector.Size * sizeof(Libc.mmsghdr)), 64);
        _parts = (Libc.iovec*)NativeMemory.AlignedAlloc((nuint)(PacketVector.Size * 2 * sizeof(Libc.iovec)), 64);
        _reasons = (byte*)NativeMemory.AlignedAlloc(PacketVector.Size, 64);
        NativeMemory.Clear(_messages, (nuint)(PacketVector.Size * sizeof(Libc.mmsghdr)));
        for (int i = 0; i < PacketVector.Size; i++)
        {
            _messages[i].msg_hdr.msg_iov = _parts + (i * 2);
            _messages[i].msg_hdr.msg_iovlen = 2;
            _parts[(i * 2) + 1].iov_len = FptunTrailer.Size;
        }

        if (tap is null)
        {
            // Made with protocol 0: it receives nothing before it is bound to fpn0, and nothing is received there.
            _socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket(AF_PACKET)", Carrier.Name);
            Libc.sockaddr_ll a = new() { sll_family = Libc.AF_PACKET, sll_protocol = NobodysProtocol, sll_ifindex = (int)carrierIfIndex };
            LinuxException.ThrowIfNegative(Libc.bind(_socket.Number, &a, (uint)sizeof(Libc.sockaddr_ll)), "bind(AF_PACKET)", Carrier.Name);
            int size = SendBuffer;
            if (Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_SNDBUFFORCE, &size, sizeof(int)) < 0)
            {
                _ = Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_SNDBUF, &size, sizeof(int));
            }
        }
    }

    /// <summary>Frames waiting for Flush; at most a vector's.</summary>
    public int Count { get; private set; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(byte* frame, uint length, int port, byte reason)
    {
        int i = Count++;
        _parts[i * 2] = new Libc.iovec { iov_base = frame, iov_len = length };
        _parts[(i * 2) + 1].iov_base = _trailers[port];
        _reasons[i] = reason;
    }

    /// <summary>Sends what waits, and counts: punted by reason, or dropped PuntOverrun where the kernel took it not.</summary>
    public void Flush(PortCounters* counters)
    {
        int n = Count;
        int i = 0;
        for (int refusals = 0; i < n && refusals < Patience; refusals++)
        {
            int end = i + Send(i, n - i);
            refusals = end > i ? 0 : refusals;
            for (; i < end; i++)
            {
                counters->Punted[_reasons[i]]++;
            }

            if (i < n)
            {
                counters->Dropped[(int)DropReason.PuntOverrun]++; // the one that was refused
                i++;
            }
        }

        counters->Dropped[(int)DropReason.PuntOverrun] += (uint)(n - i);
        Count = 0;
    }

    public void Dispose()
    {
        _socket?.Dispose();
        NativeMemory.AlignedFree(_messages);
        NativeMemory.AlignedFree(_parts);
        NativeMemory.AlignedFree(_reasons);
    }

    /// <summary>How many were taken before the first refusal.</summary>
    private int Send(int first, int count)
    {
        if (_socket is not null)
        {
            return Math.Max(0, Libc.Quiet.sendmmsg(_socket.Number, _messages + first, (uint)count, Libc.MSG_DONTWAIT));
        }

        int sent = 0;
        while (sent < count && Libc.Quiet.writev(_tap!.Number, _parts + ((first + sent) * 2), 2) > 0)
        {
            sent++;
        }

        return sent;
    }
}
