using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.Netlink;

/// <summary>Datagrams received by one system call (recvmmsg): room for 64, of up to 32 KB each. Of that only touched pages count.</summary>
public sealed unsafe class NetlinkDatagrams : IDisposable
{
    private const int Slots = 64, SlotBytes = 32 << 10;
    private readonly MemoryMapping _room = MemoryMapping.Anonymous(Slots * SlotBytes, 0, "netlink datagrams");
    private readonly Libc.mmsghdr* _messages = (Libc.mmsghdr*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(Libc.mmsghdr));
    private readonly Libc.iovec* _parts = (Libc.iovec*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(Libc.iovec));

    public NetlinkDatagrams()
    {
        for (int i = 0; i < Slots; i++)
        {
            _parts[i] = new Libc.iovec { iov_base = _room.Address + (i * SlotBytes), iov_len = SlotBytes };
            _messages[i].msg_hdr.msg_iov = _parts + i;
            _messages[i].msg_hdr.msg_iovlen = 1;
        }
    }

    public ReadOnlySpan<byte> this[int i] => new(_parts[i].iov_base, (int)Math.Min(_messages[i].msg_len, SlotBytes));

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
}
