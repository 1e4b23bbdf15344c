using FastPathSync.Linux;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>
/// Tells the kernel which neighbours are in use: RTM_NEWNEIGH with NTF_USE, which does what sending a packet to them
/// does (STALE becomes DELAY, then the kernel proves reachability itself), and creates nothing.
/// </summary>
public sealed class NeighbourUse(NetlinkSocket socket)
{
    /// <summary>Acknowledgements of one batch must fit into the socket's receive buffer: 212,992 bytes by default, about 800 each.</summary>
    private const int BatchSize = 128;

    private readonly NetlinkRequest _request = new();
    private readonly int[] _results = new int[BatchSize];

    /// <summary>How many entries the kernel had no more (ENOENT), or whose interface was gone or down.</summary>
    public int Missing { get; private set; }

    /// <returns>The number of neighbours that the kernel accepted.</returns>
    public int Use(ReadOnlySpan<(int Index, InetAddress Destination)> neighbours)
    {
        Span<byte> address = stackalloc byte[16];
        int accepted = 0;
        Missing = 0;
        while (!neighbours.IsEmpty)
        {
            int count = Math.Min(neighbours.Length, BatchSize);
            _request.Clear();
            foreach ((int index, InetAddress destination) in neighbours[..count])
            {
                destination.CopyTo(address);
                NdMsg header = new()
                {
                    Family = destination.Length == 4 ? Rtm.AF_INET : Rtm.AF_INET6,
                    Index = index,
                    Flags = NeighbourConstants.NTF_USE,
                };
                _request.Begin(Rtm.RTM_NEWNEIGH, Nlm.NLM_F_REQUEST | Nlm.NLM_F_ACK, header)
                    .Attribute(NeighbourConstants.NDA_DST, address[..destination.Length]);
            }

            Span<int> results = _results.AsSpan(0, count);
            socket.AcknowledgeBatch(_request, results);
            foreach (int errno in results)
            {
                switch (errno)
                {
                    case 0:
                        accepted++;
                        break;
                    case Errno.ENOENT or Errno.ENODEV or Errno.ENETDOWN or Errno.EINVAL:
                        Missing++;
                        break;
                    default:
                        throw new LinuxException(errno, "RTM_NEWNEIGH", "NTF_USE");
                }
            }

            neighbours = neighbours[count..];
        }

        return accepted;
    }
}
