using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>
/// Frames of a worker on their way to Linux, up to 64 per system call, each as it lies in memory with a trailer behind: through a
/// packet socket on fpn0 (whose tc egress hook delivers them), or, with --punt tap, written to the TAP one by one.
/// </summary>
internal sealed unsafe class CarrierQueue : IDisposable
{
    private const int SendBuffer = 8 << 20;

    /// <summary>
    /// IEEE 802 Local Experimental EtherType, big-endian: under its own protocol the packet socket would look for a
    /// transport header (packet_parse_headers), and bpf_skb_change_tail refuses to cut a tail that a lying header
    /// length reaches into. The real one is found again when the frame is received (eth_type_trans).
    /// </summary>
    private const ushort NobodysProtocol = 0xb588;

    private readonly FileDescriptor? _socket;
    private readonly FileDescriptor? _tap;
    private readonly Libc.mmsghdr* _messages;
    private readonly Libc.iovec* _parts;

    /// <summary>Where the packet socket is to send, and under which protocol: for a frame of its own kind only.</summary>
    private readonly Libc.sockaddr_ll* _names;
    private readonly int _carrier;

    /// <param name="carrierIfIndex">fpn0 of the namespace that the calling thread is in.</param>
    /// <param name="tap">With --punt tap: where to write.</param>
    /// <param name="secret">By which the tc program knows that it is us (FptunConstants).</param>
    public CarrierQueue(uint carrierIfIndex, FileDescriptor? tap, uint secret)
    {
        _tap = tap;
        _carrier = (int)carrierIfIndex;
        _names = (Libc.sockaddr_ll*)NativeMemory.AllocZeroed(PacketVector.Size, (nuint)sizeof(Libc.sockaddr_ll));
        _messages = (Libc.mmsghdr*)NativeMemory.AlignedAlloc((nuint)(PacketVector.Size * sizeof(Libc.mmsghdr)), 64);
        _parts = (Libc.iovec*)NativeMemory.AlignedAlloc((nuint)(PacketVector.Size * 2 * sizeof(Libc.iovec)), 64);
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
            LinuxException.ThrowIfNegative(Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_MARK, &secret, sizeof(uint)), "SO_MARK", Carrier.Name);
            int size = SendBuffer;
            if (Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_SNDBUFFORCE, &size, sizeof(int)) < 0)
            {
                _ = Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_SNDBUF, &size, sizeof(int));
            }
        }
    }

    /// <summary>Frames waiting; at most a vector's.</summary>
    public int Count { get; private set; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(byte* frame, uint length, byte* trailer)
    {
        int i = Count++;
        _parts[i * 2] = new Libc.iovec { iov_base = frame, iov_len = length };
        _parts[(i * 2) + 1].iov_base = trailer;
        _messages[i].msg_hdr.msg_name = null;
    }

    /// <summary>For an interface without Ethernet headers: nobody there finds out the protocol from the frame (__bpf_redirect_no_mac).</summary>
    /// <param name="etherType">Host byte order. The frame is what it says: see NobodysProtocol.</param>
    public void Add(byte* frame, uint length, byte* trailer, ushort etherType)
    {
        int i = Count;
        Add(frame, length, trailer);
        _names[i] = new Libc.sockaddr_ll { sll_family = Libc.AF_PACKET, sll_ifindex = _carrier, sll_protocol = BinaryPrimitives.ReverseEndianness(etherType) };
        _messages[i].msg_hdr.msg_name = _names + i;
        _messages[i].msg_hdr.msg_namelen = (uint)sizeof(Libc.sockaddr_ll);
    }

    /// <summary>How many of those from the first given on were taken before the first refusal.</summary>
    public int Send(int first)
    {
        if (_socket is not null)
        {
            return Math.Max(0, Libc.Quiet.sendmmsg(_socket.Number, _messages + first, (uint)(Count - first), Libc.MSG_DONTWAIT));
        }

        int sent = 0;
        while (first + sent < Count && Libc.Quiet.writev(_tap!.Number, _parts + ((first + sent) * 2), 2) > 0)
        {
            sent++;
        }

        return sent;
    }

    public void Clear() => Count = 0;

    public void Dispose()
    {
        _socket?.Dispose();
        NativeMemory.AlignedFree(_messages);
        NativeMemory.AlignedFree(_parts);
        NativeMemory.Free(_names);
    }
}
