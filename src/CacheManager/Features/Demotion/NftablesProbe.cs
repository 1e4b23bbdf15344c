using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Netfilter;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// nf_tables, and so iptables-nft: base chains that a forwarded packet meets and that hold a rule or don't accept at their
/// end; and flowtables. Empty accepting chains, which `iptables -L` leaves behind, change no packet.
/// </summary>
internal sealed class NftablesProbe : Probe
{
    private const int Tries = 4;

    private EventSocket? _socket;

    public override string Name => "nftables";

    public override int Descriptor => _socket!.Descriptor;

    // A transaction that is built and abandoned can leave a rule count in a dump, and announces nothing.
    public override TimeSpan Period => TimeSpan.FromSeconds(2);

    public override void Open() => _socket = new EventSocket(NetlinkSocket.NETLINK_NETFILTER, Nftables.NFNLGRP_NFTABLES, "nfnetlink");

    public override void Drain() => _socket!.Drain();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        for (int i = 0; i < Tries; i++)
        {
            NftRuleset rules = Read();
            if (rules.Consistent)
            {
                findings.Clear();
            }

            // Torn by commits again and again: what any of the tries saw counts until a whole one says otherwise.
            Judge(rules, interfaces, findings);
            if (rules.Consistent)
            {
                return;
            }
        }
    }

    /// <summary>What of a rule set demotes.</summary>
    internal static void Judge(NftRuleset rules, InterfaceSet interfaces, List<Finding> findings)
    {
        HashSet<(byte, string)> dormant = [.. rules.Tables.Where(t => t.Dormant).Select(t => (t.Family, t.Name))];
        foreach (NftChain c in rules.Chains)
        {
            if (!c.IsBase || (c.Rules == 0 && c.Policy == Nftables.NF_ACCEPT) || dormant.Contains((c.Family, c.Table)))
            {
                continue;
            }

            string @object = $"nft chain {Nftables.FamilyName(c.Family)} {c.Table} {c.Name}";
            switch (c.Family, c.Hook)
            {
                case (Nftables.NFPROTO_IPV4 or Nftables.NFPROTO_IPV6 or Nftables.NFPROTO_INET, Nftables.NF_INET_PRE_ROUTING or Nftables.NF_INET_FORWARD or Nftables.NF_INET_POST_ROUTING):
                    findings.Add(new Finding(@object, $"{Describe(c)}, which every forwarded packet would meet", DemotionEffect.Vrf, 0, FamiliesOf(c.Family)));
                    break;
                case (Nftables.NFPROTO_INET, Nftables.NF_INET_INGRESS):
                case (Nftables.NFPROTO_NETDEV, Nftables.NF_NETDEV_INGRESS):
                    PerDevice(c, @object, "receives", DemotionEffect.Ingress, interfaces, findings);
                    break;
                case (Nftables.NFPROTO_NETDEV, Nftables.NF_NETDEV_EGRESS):
                    PerDevice(c, @object, "sends", DemotionEffect.Egress, interfaces, findings);
                    break;
            }
        }

        foreach (NftFlowtable f in rules.Flowtables)
        {
            if (!dormant.Contains((f.Family, f.Table)))
            {
                findings.Add(new Finding(
                    $"nft flowtable {Nftables.FamilyName(f.Family)} {f.Table} {f.Name}",
                    "its flows are tracked and forwarded by the kernel's own fast path",
                    DemotionEffect.Vrf,
                    0,
                    FamiliesOf(f.Family)));
            }
        }
    }

    public override void Dispose()
    {
        _socket?.Dispose();
        _socket = null;
    }

    private static Families FamiliesOf(byte family) => family switch
    {
        Nftables.NFPROTO_IPV4 => Families.Ipv4,
        Nftables.NFPROTO_IPV6 => Families.Ipv6,
        _ => Families.Both,
    };

    private static void PerDevice(NftChain c, string @object, string verb, DemotionEffect effect, InterfaceSet interfaces, List<Finding> findings)
    {
        foreach (InterfaceInfo i in interfaces.Forwarding)
        {
            if (c.Devices.Any(d => d.Matches(i.Name)))
            {
                findings.Add(new Finding($"{@object} dev {i.Name}", $"{Describe(c)}, which every packet that {i.Name} {verb} would meet", effect, i.Index));
            }
        }
    }

    private static string Describe(NftChain c)
    {
        string who = IsOfIptables(c) ? $"{(c.Family == Nftables.NFPROTO_IPV6 ? "ip6tables" : "iptables")}-nft table {c.Table} chain {c.Name}" : $"nft chain {c.Name} of table {c.Table}";
        string holds = c.Rules == 1 ? "1 rule" : $"{c.Rules} rules";
        string policy = c.Policy == Nftables.NF_ACCEPT ? "accept" : "drop";
        return $"{who} holds {holds} with policy {policy}";
    }

    /// <summary>iptables-nft and ip6tables-nft mark nothing as their own; these names are theirs by convention.</summary>
    private static bool IsOfIptables(NftChain c) =>
        c.Family is Nftables.NFPROTO_IPV4 or Nftables.NFPROTO_IPV6
        && c.Table is "filter" or "nat" or "mangle" or "raw" or "security"
        && c.Name is "PREROUTING" or "FORWARD" or "POSTROUTING";

    private NftRuleset Read()
    {
        try
        {
            return NftRuleset.Read(_socket!.Requests);
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.EINVAL or Errno.EOPNOTSUPP)
        {
            throw new NotInKernelException("this kernel has no nf_tables");
        }
    }
}
