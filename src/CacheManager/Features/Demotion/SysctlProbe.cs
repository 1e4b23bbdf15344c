using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.CacheManager.Features.Settings;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// Settings (sysctl) that change what is forwarded, and that no netlink message announces. What the fast path honours goes
/// into <see cref="SettingsFeature"/>; what it doesn't, demotes: ip_forward_use_pmtu, and accept_redirects in force on an
/// interface that forwards. Those of interfaces come in one dump of the links, in IFLA_INET_CONF.
/// </summary>
internal sealed class SysctlProbe(SettingsFeature settings) : Probe
{
    private const ushort IFLA_AF_SPEC = 26, IFLA_INET_CONF = 1; // linux/if_link.h

    // linux/ip.h; element n-1 of IFLA_INET_CONF
    private const int IPV4_DEVCONF_FORWARDING = 1, IPV4_DEVCONF_ACCEPT_REDIRECTS = 4, IPV4_DEVCONF_SEND_REDIRECTS = 6;

    private const uint DefaultFields = 7; // source, destination, protocol

    private NetlinkSocket? _socket;
    private List<SysctlFile> _files = [];
    private SysctlFile _usePmtu = null!, _allSendRedirects = null!, _allAcceptRedirects = null!, _useNeigh = null!, _seed = null!;
    private SysctlFile _policy4 = null!, _fields4 = null!, _policy6 = null!, _fields6 = null!;

    public override string Name => "sysctl";

    public override TimeSpan Period => TimeSpan.FromMilliseconds(90);

    public override void Open()
    {
        _socket = new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE);
        _usePmtu = Open("net/ipv4/ip_forward_use_pmtu");
        _allSendRedirects = Open("net/ipv4/conf/all/send_redirects");
        _allAcceptRedirects = Open("net/ipv4/conf/all/accept_redirects");
        _useNeigh = Open("net/ipv4/fib_multipath_use_neigh", 0);
        _seed = Open("net/ipv4/fib_multipath_hash_seed", 0);
        _policy4 = Open("net/ipv4/fib_multipath_hash_policy", 0);
        _fields4 = Open("net/ipv4/fib_multipath_hash_fields", DefaultFields);
        _policy6 = Open("net/ipv6/fib_multipath_hash_policy", 0);
        _fields6 = Open("net/ipv6/fib_multipath_hash_fields", DefaultFields);
    }

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        if (_usePmtu.Read() != 0)
        {
            findings.Add(new Finding("net.ipv4.ip_forward_use_pmtu", "net.ipv4.ip_forward_use_pmtu is 1: Linux forwards with the path MTU that it has learnt instead of the interface's", DemotionEffect.Vrf, 0, Families.Ipv4));
        }

        Wire.Settings now = new()
        {
            MultipathHashPolicy4 = _policy4.Read(),
            MultipathHashFields4 = _fields4.Read(),
            MultipathHashPolicy6 = _policy6.Read(),
            MultipathHashFields6 = _fields6.Read(),
            MultipathHashSeed = _seed.Read(),
            MultipathUseNeigh = _useNeigh.Read() != 0,
        };
        bool allSend = _allSendRedirects.Read() != 0, allAccept = _allAcceptRedirects.Read() != 0;
        _ = _socket!.Dump(LinkMessage.Dump(), (scoped in NetlinkMessage m) =>
        {
            if (!TryParse(in m, out LinkSettings s) || !interfaces.TryFind(s.IfIndex, out InterfaceInfo i))
            {
                return;
            }

            if (!allSend && !s.SendRedirects) // IN_DEV_TX_REDIRECTS
            {
                now.WithoutRedirects.Add(s.IfIndex);
            }

            if (s.Forwarding && s.AcceptRedirects && allAccept) // IN_DEV_RX_REDIRECTS
            {
                findings.Add(new Finding($"{i.Name} accept_redirects", $"net.ipv4.conf.{i.Name}.accept_redirects is in force: Linux may learn other ways out of {i.Name} than its routes say", DemotionEffect.Egress, i.Index, Families.Ipv4));
            }
        });
        settings.Set(now);
    }

    /// <summary>The settings of an RTM_NEWLINK.</summary>
    internal static bool TryParse(in NetlinkMessage message, out LinkSettings settings)
    {
        settings = default;
        if (message.Type != Rtm.RTM_NEWLINK || !message.TryHeader(out IfInfoMsg header))
        {
            return false;
        }

        foreach (NetlinkAttribute a in message.Attributes(Unsafe.SizeOf<IfInfoMsg>()))
        {
            if (a.Type != IFLA_AF_SPEC)
            {
                continue;
            }

            foreach (NetlinkAttribute family in a.Nested)
            {
                if (family.Type != Rtm.AF_INET)
                {
                    continue;
                }

                foreach (NetlinkAttribute conf in family.Nested)
                {
                    if (conf.Type == IFLA_INET_CONF)
                    {
                        ReadOnlySpan<int> values = MemoryMarshal.Cast<byte, int>(conf.Payload);
                        settings = new LinkSettings(
                            (uint)header.Index, At(values, IPV4_DEVCONF_FORWARDING), At(values, IPV4_DEVCONF_ACCEPT_REDIRECTS), At(values, IPV4_DEVCONF_SEND_REDIRECTS));
                        return true;
                    }
                }
            }
        }

        return false; // no IPv4 on it (MTU under 68)

        static bool At(ReadOnlySpan<int> values, int n) => n <= values.Length && values[n - 1] != 0;
    }

    public override void Dispose()
    {
        _socket?.Dispose();
        _files.ForEach(f => f.Dispose());
        _files = [];
    }

    private SysctlFile Open(string name, uint? absent = null)
    {
        SysctlFile f = new(name, absent);
        _files.Add(f);
        return f;
    }

    internal readonly record struct LinkSettings(uint IfIndex, bool Forwarding, bool AcceptRedirects, bool SendRedirects);
}
