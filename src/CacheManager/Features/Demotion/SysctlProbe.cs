using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// Settings under net.ipv4 that change what is forwarded and that no netlink message announces: ip_forward_use_pmtu for the
/// VRF; accept_local and route_localnet per interface (in force when set for it or for `all`). The latter come in one dump of
/// the links, in IFLA_INET_CONF.
/// </summary>
internal sealed unsafe class SysctlProbe : Probe
{
    private const ushort IFLA_AF_SPEC = 26, IFLA_INET_CONF = 1; // linux/if_link.h
    private const int IPV4_DEVCONF_ACCEPT_LOCAL = 23, IPV4_DEVCONF_ROUTE_LOCALNET = 26; // linux/ip.h; element n-1 of IFLA_INET_CONF

    private const string Root = "/proc/sys/net/ipv4/"; // of the namespace of the thread that opens

    private NetlinkSocket? _socket;
    private FileDescriptor? _usePmtu;
    private FileDescriptor? _allAcceptLocal;
    private FileDescriptor? _allRouteLocalnet;

    public override string Name => "sysctl";

    public override TimeSpan Period => TimeSpan.FromMilliseconds(90);

    public override void Open()
    {
        _socket = new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE);
        _usePmtu = OpenSetting("ip_forward_use_pmtu");
        _allAcceptLocal = OpenSetting("conf/all/accept_local");
        _allRouteLocalnet = OpenSetting("conf/all/route_localnet");
    }

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        if (IsSet(_usePmtu!))
        {
            findings.Add(new Finding("net.ipv4.ip_forward_use_pmtu", "net.ipv4.ip_forward_use_pmtu is 1: Linux forwards with the path MTU that it has learnt instead of the interface's", DemotionEffect.Vrf, 0, Families.Ipv4));
        }

        bool allAcceptLocal = IsSet(_allAcceptLocal!), allRouteLocalnet = IsSet(_allRouteLocalnet!);
        _ = _socket!.Dump(LinkMessage.Dump(), (scoped in NetlinkMessage m) =>
        {
            if (!TryParse(in m, out LinkSettings s) || !interfaces.TryFind(s.IfIndex, out InterfaceInfo i))
            {
                return;
            }

            if (s.AcceptLocal || allAcceptLocal)
            {
                findings.Add(new Finding($"{i.Name} accept_local", $"net.ipv4.conf.{i.Name}.accept_local is in force: Linux takes packets from its own addresses on {i.Name}", DemotionEffect.Ingress, i.Index, Families.Ipv4));
            }

            if (s.RouteLocalnet || allRouteLocalnet)
            {
                findings.Add(new Finding($"{i.Name} route_localnet", $"net.ipv4.conf.{i.Name}.route_localnet is in force: Linux routes 127.0.0.0/8 on {i.Name}", DemotionEffect.Ingress, i.Index, Families.Ipv4));
            }
        });
    }

    /// <summary>The two settings of an RTM_NEWLINK.</summary>
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
                        settings = new LinkSettings((uint)header.Index, At(values, IPV4_DEVCONF_ACCEPT_LOCAL), At(values, IPV4_DEVCONF_ROUTE_LOCALNET));
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
        _usePmtu?.Dispose();
        _allAcceptLocal?.Dispose();
        _allRouteLocalnet?.Dispose();
    }

    private static FileDescriptor OpenSetting(string name) =>
        FileDescriptor.FromCall(Libc.open(Root + name, Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open", Root + name);

    private static bool IsSet(FileDescriptor setting)
    {
        byte first;
        _ = Libc.lseek(setting.Number, 0, 0);
        return LinuxException.ThrowIfNegative(Libc.read(setting.Number, &first, 1), "read", "a setting under " + Root) == 1 && first != (byte)'0';
    }

    internal readonly record struct LinkSettings(uint IfIndex, bool AcceptLocal, bool RouteLocalnet);
}
