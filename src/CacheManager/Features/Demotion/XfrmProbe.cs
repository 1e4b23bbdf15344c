using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Xfrm;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// IPsec policies that a forwarded packet is checked against: direction fwd (may it pass?) and out (must it be
/// transformed?), and a default of block where none matches. Direction in concerns what is delivered locally.
/// </summary>
internal sealed class XfrmProbe : Probe
{
    private EventSocket? _socket;

    public override string Name => "xfrm";

    public override int Descriptor => _socket!.Descriptor;

    public override TimeSpan Period => TimeSpan.FromSeconds(2);

    public override void Open() => _socket = new EventSocket(NetlinkSocket.NETLINK_XFRM, Xfrm.XFRMNLGRP_POLICY, "XFRM");

    public override void Drain() => _socket!.Drain();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        List<XfrmPolicy> policies = [];
        _socket!.Requests.DumpConsistently(Xfrm.DumpPolicies, policies.Clear, (scoped in NetlinkMessage m) =>
        {
            if (XfrmPolicy.TryParse(in m, out XfrmPolicy p))
            {
                policies.Add(p);
            }
        });
        Judge(policies, findings);

        XfrmUserPolicyDefault otherwise = default;
        int errno = _socket.Requests.Exchange(Xfrm.GetDefault(), (scoped in NetlinkMessage m) =>
        {
            if (m.Type == Xfrm.XFRM_MSG_GETDEFAULT && m.TryHeader(out XfrmUserPolicyDefault d))
            {
                otherwise = d;
            }
        });
        if (errno is not (0 or Errno.EINVAL or Errno.EOPNOTSUPP))
        {
            throw new LinuxException(errno, "XFRM_MSG_GETDEFAULT", "xfrm");
        }

        if (otherwise.Forward == Xfrm.XFRM_USERPOLICY_BLOCK)
        {
            findings.Add(new Finding("ip xfrm policy default fwd", "the default is block: Linux drops forwarded packets that no policy lets pass", DemotionEffect.Vrf, 0));
        }

        if (otherwise.Out == Xfrm.XFRM_USERPOLICY_BLOCK)
        {
            findings.Add(new Finding("ip xfrm policy default out", "the default is block: Linux drops what leaves without a policy", DemotionEffect.Vrf, 0));
        }
    }

    /// <summary>What of the policies demotes: one finding per direction, however many there are.</summary>
    internal static void Judge(IReadOnlyList<XfrmPolicy> policies, List<Finding> findings)
    {
        foreach ((byte direction, string name) in new[] { (Xfrm.XFRM_POLICY_OUT, "out"), (Xfrm.XFRM_POLICY_FWD, "fwd") })
        {
            List<XfrmPolicy> of = [.. policies.Where(p => (p.IsIpv4 || p.IsIpv6) && p.Direction == direction)];
            Families families = (of.Exists(p => p.IsIpv4) ? Families.Ipv4 : Families.None) | (of.Exists(p => p.IsIpv6) ? Families.Ipv6 : Families.None);
            if (of.Count > 0)
            {
                string count = of.Count == 1 ? "1 policy" : $"{of.Count} policies";
                string whose = families switch
                {
                    Families.Ipv4 => "IPv4",
                    Families.Ipv6 => "IPv6",
                    _ => "IPv4 and IPv6",
                };
                findings.Add(new Finding(
                    $"ip xfrm policy dir {name}", $"{count} for {whose} ({of[0].Selector}{(of.Count > 1 ? ", …" : "")}); IPsec is Linux's", DemotionEffect.Vrf, 0, families));
            }
        }
    }

    public override void Dispose()
    {
        _socket?.Dispose();
        _socket = null;
    }
}
