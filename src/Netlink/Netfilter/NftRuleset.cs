using FastPathSync.Linux;

namespace FastPathSync.Netlink.Netfilter;

/// <summary>
/// The shape of a namespace's nf_tables rule set (tables, chains, flowtables; no rules), read between two looks at its
/// generation: equal ones say that no commit came between.
/// </summary>
public sealed class NftRuleset
{
    public List<NftTable> Tables { get; } = [];

    public List<NftChain> Chains { get; } = [];

    public List<NftFlowtable> Flowtables { get; } = [];

    /// <summary>False when a commit tore the dumps.</summary>
    public bool Consistent { get; private set; }

    /// <exception cref="LinuxException">EINVAL or EOPNOTSUPP when the kernel has no nf_tables.</exception>
    public static NftRuleset Read(NetlinkSocket socket)
    {
        NftRuleset r = new();
        uint before = Generation(socket);
        bool whole = Dump(socket, Nftables.NFT_MSG_GETTABLE, (scoped in NetlinkMessage m) =>
        {
            if (NftTable.TryParse(in m, out NftTable t))
            {
                r.Tables.Add(t);
            }
        });

        // Most namespaces have no table at all: nothing more to ask.
        if (r.Tables.Count > 0)
        {
            whole &= Dump(socket, Nftables.NFT_MSG_GETCHAIN, (scoped in NetlinkMessage m) =>
            {
                if (NftChain.TryParse(in m, out NftChain? c))
                {
                    r.Chains.Add(c!);
                }
            });
            whole &= Dump(socket, Nftables.NFT_MSG_GETFLOWTABLE, (scoped in NetlinkMessage m) =>
            {
                if (NftFlowtable.TryParse(in m, out NftFlowtable f))
                {
                    r.Flowtables.Add(f);
                }
            });
        }

        r.Consistent = whole && Generation(socket) == before;
        return r;
    }

    private static uint Generation(NetlinkSocket socket)
    {
        uint generation = 0;
        int errno = socket.Exchange(Request(Nftables.NFT_MSG_GETGEN, Nlm.NLM_F_REQUEST | Nlm.NLM_F_ACK), (scoped in NetlinkMessage m) =>
        {
            if (NftGeneration.TryParse(in m, out uint g))
            {
                generation = g;
            }
        });
        return errno == 0 ? generation : throw new LinuxException(errno, "NFT_MSG_GETGEN", "nf_tables");
    }

    private static bool Dump(NetlinkSocket socket, int message, NetlinkMessageHandler handler) =>
        socket.Dump(Request(message, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP), handler);

    private static NetlinkRequest Request(int message, int flags) =>
        new NetlinkRequest().Begin(Nftables.MessageType(message), (ushort)flags, new NfGenMsg());
}
