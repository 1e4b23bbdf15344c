using System.Runtime.InteropServices;
using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.Hitflags.Features.Neighbour;

/// <summary>
/// RTM_NEWNEIGH with NTF_USE: the kernel treats each neighbour as if it had just sent a packet to it
/// (neigh_event_send): STALE goes to DELAY and is proved by the kernel's own probe, REACHABLE has its use renewed.
/// </summary>
internal sealed class NeighbourUse : IDisposable
{
    private const ushort RTM_NEWNEIGH = 28, NDA_DST = 1;
    private const byte NTF_USE = 1;

    /// <summary>A message is 36 bytes; this many stay far below the default send buffer (212,992 bytes).</summary>
    private const int BatchSize = 256;

    private readonly NetlinkSocket _socket = new(NetlinkSocket.NETLINK_ROUTE);
    private readonly NetlinkRequest _request = new();
    private readonly byte[] _errors = new byte[64 * 1024];
    private int _pending;

    /// <summary>Neighbours that the kernel no longer had (ENOENT): their deletion is on its way to the tables.</summary>
    public ulong Missing { get; private set; }

    /// <summary>Other refusals.</summary>
    public ulong Refused { get; private set; }

    public int LastError { get; private set; }

    /// <param name="ifindex">Its interface.</param>
    /// <param name="address">Host byte order.</param>
    public void Add(uint ifindex, uint address)
    {
        // Neither NLM_F_CREATE nor NLM_F_ACK: what is missing stays missing, and only failures are answered.
        _request.Begin(RTM_NEWNEIGH, Nlm.NLM_F_REQUEST, new NdMsg { Family = Libc.AF_INET, IfIndex = (int)ifindex, Flags = NTF_USE })
            .AttributeBigEndian(NDA_DST, address);
        if (++_pending == BatchSize)
        {
            Flush();
        }
    }

    /// <summary>Sends the rest. The kernel has acted on all of it when this returns.</summary>
    public void Flush()
    {
        if (_pending == 0)
        {
            return;
        }

        try
        {
            _socket.Send(_request);
        }
        finally
        {
            _request.Clear();
            _pending = 0;
        }

        CountErrors();
    }

    public void Dispose() => _socket.Dispose();

    private void CountErrors()
    {
        // rtnetlink works inside send(): every answer is waiting already. A full receive buffer (-ENOBUFS) only loses counts.
        int n;
        while ((n = _socket.ReceiveEvents(_errors, wait: false)) > 0)
        {
            foreach (NetlinkMessage m in new NetlinkMessages(_errors.AsSpan(0, n)))
            {
                if (m.Type == Nlm.NLMSG_ERROR && m.Payload.Length >= 4 && MemoryMarshal.Read<int>(m.Payload) is int error and not 0)
                {
                    if (-error == Errno.ENOENT)
                    {
                        Missing++;
                    }
                    else
                    {
                        Refused++;
                        LastError = -error;
                    }
                }
            }
        }
    }

    /// <summary>struct ndmsg (linux/neighbour.h).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct NdMsg
    {
        public byte Family;
        public byte Pad1;
        public ushort Pad2;
        public int IfIndex;
        public ushort State;
        public byte Flags;
        public byte Type;
    }
}
