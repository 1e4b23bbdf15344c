using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>What Linux holds, in compact form: a million routes are compared in seconds.</summary>
internal sealed class KernelState
{
    public List<KernelInterface> Interfaces { get; } = [];

    public List<KernelAddress> Addresses { get; } = [];

    /// <summary>IPv4 routes in the kernel's order: the first of equal keys is the one it uses.</summary>
    public List<KernelRoute> Routes { get; } = [];

    /// <summary>Of both families, in the kernel's order.</summary>
    public List<RuleRecord> Rules { get; } = [];

    /// <summary>IPv6 routes of all tables in the kernel's order: of one identity, the first is what is published.</summary>
    public List<KernelRoute6> Routes6 { get; } = [];

    public List<KernelNexthop> Nexthops { get; } = [];

    public List<KernelNeighbour> Neighbours { get; } = [];
}

internal readonly record struct KernelInterface(
    uint IfIndex, string Name, uint Mtu, uint Flags, ulong Mac, bool HasMac, bool? Forwarding, bool IgnoreRoutesWithLinkdown,
    bool? Forwarding6 = null, bool IgnoreRoutesWithLinkdown6 = false, uint? Mtu6 = null);

internal readonly record struct KernelAddress(uint IfIndex, IpAddress Local, IpAddress Peer, byte PrefixLength, byte Scope, uint Flags);

internal readonly record struct RouteKey(uint Table, uint Destination, byte PrefixLength, byte Tos, uint Metric);

internal readonly record struct KernelRoute(
    RouteKey Key, byte Type, byte Protocol, byte Scope, ushort Mtu, uint PreferredSource, uint NexthopObject, KernelHop[] Hops);

/// <param name="Source">With SourceLength: the packets that may take it.</param>
internal readonly record struct Route6Key(uint Table, IpAddress Destination, byte PrefixLength, IpAddress Source, byte SourceLength, uint Metric);

/// <param name="Expiring">Its lifetime is over, or so nearly that the fast path may have withdrawn it.</param>
internal readonly record struct KernelRoute6(
    Route6Key Key, byte Type, byte Protocol, byte Preference, ushort Mtu, bool MtuLocked, IpAddress PreferredSource, uint NexthopObject, KernelHop[] Hops,
    bool Expiring);

/// <param name="LinuxOnly">Encapsulated: the fast path may only punt it.</param>
internal readonly record struct KernelHop(uint IfIndex, IpAddress Gateway, uint Weight, uint Flags, bool LinuxOnly);

internal readonly record struct KernelNexthop(uint Id, KernelHop Hop, bool Blackhole, (uint Id, uint Weight)[] Members)
{
    /// <summary>Of a resilient group: the nexthop of each bucket.</summary>
    public uint[] Buckets { get; init; } = [];
}

/// <param name="Mac">By MacNumber.</param>
internal readonly record struct KernelNeighbour(uint IfIndex, IpAddress Address, ushort State, ulong Mac, bool HasMac);

/// <summary>MAC addresses as one comparable number.</summary>
internal static class MacNumber
{
    public static ulong Of(ReadOnlySpan<byte> mac)
    {
        ulong n = 0;
        for (int i = 0; i < 6; i++)
        {
            n = (n << 8) | (i < mac.Length ? mac[i] : (byte)0);
        }

        return n;
    }

    public static string Text(ulong mac) => string.Join(':', Enumerable.Range(0, 6).Select(i => $"{(mac >> (40 - (8 * i))) & 255:x2}"));
}
