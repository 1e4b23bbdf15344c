using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Netfilter;

/// <summary>struct nfgenmsg (linux/netfilter/nfnetlink.h): the family header of every nfnetlink message.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NfGenMsg
{
    public const int Size = 4;

    public byte Family;     // NFPROTO_*
    public byte Version;    // NFNETLINK_V0
    public ushort Resource; // network byte order; nf_tables: low 16 bits of the generation
}

/// <summary>Constants of linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h and linux/netfilter.h.</summary>
public static class Nftables
{
    public const int NFNLGRP_NFTABLES = 7;
    public const int NFNL_SUBSYS_NFTABLES = 10;

    public const int NFT_MSG_NEWTABLE = 0, NFT_MSG_GETTABLE = 1, NFT_MSG_NEWCHAIN = 3, NFT_MSG_GETCHAIN = 4, NFT_MSG_NEWGEN = 15,
        NFT_MSG_GETGEN = 16, NFT_MSG_NEWFLOWTABLE = 22, NFT_MSG_GETFLOWTABLE = 23;

    public const byte NFPROTO_UNSPEC = 0, NFPROTO_INET = 1, NFPROTO_IPV4 = 2, NFPROTO_ARP = 3, NFPROTO_NETDEV = 5, NFPROTO_BRIDGE = 7,
        NFPROTO_IPV6 = 10;

    /// <summary>enum nf_inet_hooks, of the families ip and inet (ingress: inet only).</summary>
    public const uint NF_INET_PRE_ROUTING = 0, NF_INET_LOCAL_IN = 1, NF_INET_FORWARD = 2, NF_INET_LOCAL_OUT = 3, NF_INET_POST_ROUTING = 4,
        NF_INET_INGRESS = 5;

    /// <summary>enum nf_dev_hooks, of the family netdev.</summary>
    public const uint NF_NETDEV_INGRESS = 0, NF_NETDEV_EGRESS = 1;

    public const uint NF_DROP = 0, NF_ACCEPT = 1;
    public const uint NFT_TABLE_F_DORMANT = 1;

    /// <summary>nlmsg_type of an nf_tables message.</summary>
    public static ushort MessageType(int message) => (ushort)((NFNL_SUBSYS_NFTABLES << 8) | message);

    /// <summary>The name that nft uses for a family.</summary>
    public static string FamilyName(byte family) => family switch
    {
        NFPROTO_INET => "inet",
        NFPROTO_IPV4 => "ip",
        NFPROTO_ARP => "arp",
        NFPROTO_NETDEV => "netdev",
        NFPROTO_BRIDGE => "bridge",
        NFPROTO_IPV6 => "ip6",
        _ => $"family{family}",
    };
}

/// <summary>NFT_MSG_NEWGEN: the generation of the rule set, which every commit in the namespace moves.</summary>
public static class NftGeneration
{
    private const ushort NFTA_GEN_ID = 1;

    public static bool TryParse(in NetlinkMessage message, out uint generation)
    {
        generation = 0;
        if (message.Type != Nftables.MessageType(Nftables.NFT_MSG_NEWGEN))
        {
            return false;
        }

        foreach (NetlinkAttribute a in message.Attributes(NfGenMsg.Size))
        {
            if (a.Type == NFTA_GEN_ID && a.Payload.Length >= 4)
            {
                generation = BinaryPrimitives.ReadUInt32BigEndian(a.Payload);
                return true;
            }
        }

        return false;
    }
}

/// <summary>NFT_MSG_NEWTABLE: identity and flags.</summary>
public readonly record struct NftTable(byte Family, string Name, uint Flags)
{
    private const ushort NFTA_TABLE_NAME = 1, NFTA_TABLE_FLAGS = 2;

    /// <summary>The chains of a dormant table have no hooks.</summary>
    public bool Dormant => (Flags & Nftables.NFT_TABLE_F_DORMANT) != 0;

    public static bool TryParse(in NetlinkMessage message, out NftTable table)
    {
        table = default;
        if (message.Type != Nftables.MessageType(Nftables.NFT_MSG_NEWTABLE) || !message.TryHeader(out NfGenMsg header))
        {
            return false;
        }

        string? name = null;
        uint flags = 0;
        foreach (NetlinkAttribute a in message.Attributes(NfGenMsg.Size))
        {
            switch (a.Type)
            {
                case NFTA_TABLE_NAME:
                    name = a.Text;
                    break;
                case NFTA_TABLE_FLAGS:
                    flags = a.U32BigEndian;
                    break;
            }
        }

        table = new NftTable(header.Family, name ?? "", flags);
        return name is not null;
    }
}

/// <summary>A device that a hook names: exactly, or (kernel 6.17, NFTA_DEVICE_PREFIX) by how its name begins.</summary>
public readonly record struct NftDevice(string Name, bool IsPrefix)
{
    public bool Matches(string device) => IsPrefix ? device.StartsWith(Name, StringComparison.Ordinal) : device == Name;
}

/// <summary>NFT_MSG_NEWCHAIN: where a chain is hooked, what it does at its end, and how many rules it holds.</summary>
public sealed record NftChain(byte Family, string Table, string Name, bool IsBase, uint Hook, uint Policy, uint Use, IReadOnlyList<NftDevice> Devices)
{
    private const ushort NFTA_CHAIN_TABLE = 1, NFTA_CHAIN_NAME = 3, NFTA_CHAIN_HOOK = 4, NFTA_CHAIN_POLICY = 5, NFTA_CHAIN_USE = 6;
    private const ushort NFTA_HOOK_HOOKNUM = 1, NFTA_HOOK_DEV = 3, NFTA_HOOK_DEVS = 4;
    private const ushort NFTA_DEVICE_NAME = 1, NFTA_DEVICE_PREFIX = 2;

    /// <summary>
    /// Rules in a base chain. NFTA_CHAIN_USE counts a chain's rules and the jumps to it; nothing can jump to a base chain
    /// (nft_verdict_init answers EOPNOTSUPP), so that no rule has to be dumped to count them.
    /// </summary>
    public uint Rules => IsBase ? Use : 0;

    public static bool TryParse(in NetlinkMessage message, out NftChain? chain)
    {
        chain = null;
        if (message.Type != Nftables.MessageType(Nftables.NFT_MSG_NEWCHAIN) || !message.TryHeader(out NfGenMsg header))
        {
            return false;
        }

        string? table = null, name = null;
        bool isBase = false;
        uint hook = 0, policy = Nftables.NF_ACCEPT, use = 0;
        List<NftDevice> devices = [];
        foreach (NetlinkAttribute a in message.Attributes(NfGenMsg.Size))
        {
            switch (a.Type)
            {
                case NFTA_CHAIN_TABLE:
                    table = a.Text;
                    break;
                case NFTA_CHAIN_NAME:
                    name = a.Text;
                    break;
                case NFTA_CHAIN_HOOK:
                    isBase = true;
                    hook = ParseHook(a.Nested, devices);
                    break;
                case NFTA_CHAIN_POLICY:
                    policy = a.U32BigEndian;
                    break;
                case NFTA_CHAIN_USE:
                    use = a.U32BigEndian;
                    break;
            }
        }

        if (table is null || name is null)
        {
            return false;
        }

        chain = new NftChain(header.Family, table, name, isBase, hook, policy, use, devices);
        return true;
    }

    private static uint ParseHook(NetlinkAttributes attributes, List<NftDevice> devices)
    {
        uint hook = 0;
        foreach (NetlinkAttribute a in attributes)
        {
            switch (a.Type)
            {
                case NFTA_HOOK_HOOKNUM:
                    hook = a.U32BigEndian;
                    break;
                case NFTA_HOOK_DEV:
                    Add(new NftDevice(a.Text, false), devices);
                    break;
                case NFTA_HOOK_DEVS:
                    foreach (NetlinkAttribute d in a.Nested)
                    {
                        if (d.Type is NFTA_DEVICE_NAME or NFTA_DEVICE_PREFIX)
                        {
                            Add(new NftDevice(d.Text, d.Type == NFTA_DEVICE_PREFIX), devices);
                        }
                    }

                    break;
            }
        }

        return hook;

        // A chain of one device carries it in NFTA_HOOK_DEV and in NFTA_HOOK_DEVS.
        static void Add(NftDevice device, List<NftDevice> to)
        {
            if (!to.Contains(device))
            {
                to.Add(device);
            }
        }
    }
}

/// <summary>NFT_MSG_NEWFLOWTABLE: identity only.</summary>
public readonly record struct NftFlowtable(byte Family, string Table, string Name)
{
    private const ushort NFTA_FLOWTABLE_TABLE = 1, NFTA_FLOWTABLE_NAME = 2;

    public static bool TryParse(in NetlinkMessage message, out NftFlowtable flowtable)
    {
        flowtable = default;
        if (message.Type != Nftables.MessageType(Nftables.NFT_MSG_NEWFLOWTABLE) || !message.TryHeader(out NfGenMsg header))
        {
            return false;
        }

        string? table = null, name = null;
        foreach (NetlinkAttribute a in message.Attributes(NfGenMsg.Size))
        {
            switch (a.Type)
            {
                case NFTA_FLOWTABLE_TABLE:
                    table = a.Text;
                    break;
                case NFTA_FLOWTABLE_NAME:
                    name = a.Text;
                    break;
            }
        }

        flowtable = new NftFlowtable(header.Family, table ?? "", name ?? "");
        return table is not null && name is not null;
    }
}
