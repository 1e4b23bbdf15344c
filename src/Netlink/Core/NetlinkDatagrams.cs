using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.Netlink;

/// <summary>
/// Datagrams received by one system call (recvmmsg): 64, of up to 32 KB each. The first 256 bytes, which is all that most have, stand
/// close together; at a distance of pages they would share few cache lines.
/// </summary>
public sealed unsafe class NetlinkDatagrams : IDisposable
{
    public const int Slots = 64;

    private const int SlotBytes = 32 << 10, HeadBytes = 256, Parts = 2;

    /// <summary>Heads, and then whole datagrams, of which only touched pages count.</summary>
    private readonly MemoryMapping _room = MemoryMapping.Anonymous(Slots * (HeadBytes + SlotBytes), 0, "netlink datagrams");
    private readonly Libc.mmsghdr* _messages = (Libc.mmsghdr*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(Libc.mmsghdr));
    private readonly Libc.iovec* _parts = (Libc.iovec*)NativeMemory.AllocZeroed(Slots * Parts, (nuint)sizeof(Libc.iovec));

    public NetlinkDatagrams()
    {
        for (int i = 0; i < Slots; i++)
        {
            _parts[i * Parts] = new Libc.iovec { iov_base = Head(i), iov_len = HeadBytes };
            _parts[(i * Parts) + 1] = new Libc.iovec { iov_base = Whole(i) + HeadBytes, iov_len = SlotBytes - HeadBytes };
            _messages[i].msg_hdr.msg_iov = _parts + (i * Parts);
            _messages[i].msg_hdr.msg_iovlen = Parts;
        }
    }

    public ReadOnlySpan<byte> this[int i]
    {
        get
        {
            int length = (int)Math.Min(_messages[i].msg_len, SlotBytes);
            if (length <= HeadBytes)
            {
                return new ReadOnlySpan<byte>(Head(i), length);
            }

            new ReadOnlySpan<byte>(Head(i), HeadBytes).CopyTo(new Span<byte>(Whole(i), HeadBytes)); // before its rest
            return new ReadOnlySpan<byte>(Whole(i), length);
        }
    }

    /// <summary>
    /// Takes what waits, without waiting. Returns the number of datagrams, 0 when interrupted, or a negative errno: -EAGAIN
    /// none is waiting, -ENOBUFS some were lost (see NetlinkSocket.ReceiveEvents), or one was longer than there is room.
    /// </summary>
    public int Receive(NetlinkSocket socket)
    {
        int n = Libc.recvmmsg(socket.Descriptor, _messages, Slots, Libc.MSG_DONTWAIT | Libc.MSG_TRUNC, null);
        if (n < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            return errno == Errno.EINTR ? 0 : -errno;
        }

        for (int i = 0; i < n; i++)
        {
            if (_messages[i].msg_len > SlotBytes)
            {
                return -Errno.ENOBUFS; // a truncated datagram is a lost one, and with it its neighbours
            }
        }

        return n;
    }

    public void Dispose()
    {
        _room.Dispose();
        NativeMemory.Free(_messages);
        NativeMemory.Free(_parts);
    }

    private byte* Head(int i) => _room.Address + (i * HeadBytes);

    private byte* Whole(int i) => _room.Address + (Slots * HeadBytes) + (i * SlotBytes);
}
