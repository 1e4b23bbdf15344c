using System.Buffers.Binary;
using System.Text;

namespace FastPathSync.Topology;

/// <summary>A packet that the client sends and the fast path doesn't forward, or only just does.</summary>
/// <param name="Way">"punted no-route", "passed link-local", "forwarded": what it is counted as.</param>
/// <param name="Reaction">
/// What the kernel alone is known to do, lest the test compare nothing with nothing: where something arrives, in which order, and
/// what: an ICMP type and code, "arp", "ns" (neighbour solicitation), "packet" (itself).
/// </param>
/// <param name="Build">The frame, of a lab, an IPv4 identification and a payload.</param>
/// <param name="Stage">What must be set for it, beside what the lab has.</param>
public sealed record ExceptionRow(string Name, string Way, string Reaction, Func<RouterLab, ushort, byte[], byte[]> Build, string Stage)
{
    public byte[] Marker => Encoding.ASCII.GetBytes($"FastPathSync {Id:0000}.");

    public ushort Id => (ushort)(4000 + ExceptionRows.All.ToList().IndexOf(this));

    public byte[] Frame(RouterLab lab) => Build(lab, Id, [.. Marker, .. new byte[8]]); // a redirect quotes all but the last bytes
}

/// <summary>The table of docs/features/exceptions.md as packets.</summary>
public static class ExceptionRows
{
    public const string Plain = "", Rule = "rule", Socket = "packet socket", Full = "full table";
    private const string Target = RouterLab.Target, Target6 = "fd09::1";
    private static readonly byte[] s_nothing = [];

    public static IReadOnlyList<ExceptionRow> All { get; } =
    [
        V4("no-route", "no-route", "c0 3.0", "172.31.1.1"),
        V4("no-neighbour", "no-neighbour", "c0 3.1, s0 arp", "10.2.0.77"),
        V4("ttl-1", "ttl-expired", "c0 11.0", Target, ttl: 1),
        V4("ttl-0", "ttl-expired", "c0 11.0", Target, ttl: 0),
        V4("too-big-df", "fragmentation-needed", "c0 3.4", "10.20.4.1", flags: 0x4000, more: 1200),
        V4("too-big", "fragmentation-needed", "s0 packet, s0 packet", "10.20.4.1", more: 1200),
        V4("record-route", "ip-options", "s0 packet", Target, options: [7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), // room for three addresses (RFC 791)
        V4("loose-source-route", "ip-options", "", Target, options: [131, 7, 4, 10, 9, 0, 9, 0]),
        V4("bad-option", "ip-options", "c0 12.0", Target, options: [7, 15, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        V4("local-route", "local", "c0 3.3", "10.66.0.1"),
        V4("directed-broadcast", "broadcast", "", "10.2.0.255"),
        V4("limited-broadcast", "broadcast", "", "255.255.255.255"),
        V4("multicast-route", "multicast", "", "10.45.0.1"),
        V4("blackhole", "blackhole", "", "10.20.1.1"),
        V4("unreachable", "unreachable", "c0 3.1", "10.20.2.1"),
        V4("prohibit", "prohibit", "c0 3.13", "10.20.3.1"),
        V4("throw", "throw", "c0 3.0", "10.20.5.1"),
        V4("redirect", "redirect-needed", "c0 5.1, c0 packet", "10.25.0.1"),
        V4("loopback-source", "martian-source", "", Target, source: "127.0.0.1"),
        V4("multicast-source", "martian-source", "", Target, source: "224.0.0.5"),
        V4("broadcast-source", "martian-source", "", Target, source: "255.255.255.255"),
        V4("zero-source", "martian-source", "", Target, source: "0.0.0.0"),
        V4("own-source", "martian-source", "", Target, source: "10.2.0.1"),
        V4("zero-destination", "martian-destination", "", "0.0.0.0"),
        V4("version-5", "header-error", "", Target, edit: f => Header(f, ip => ip[0] = 0x55)),
        V4("total-length-10", "header-error", "", Target, edit: f => Header(f, ip => BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(2), 10))),
        V4("bad-checksum", "checksum-error", "", Target, edit: f => [.. f[..24], (byte)(f[24] ^ 0x5a), .. f[25..]]),
        V4("cut-off", "truncated", "", Target, edit: f => f[..^2]),
        V4("no-port", "egress-not-a-port", "s3 packet", "10.21.0.1"),
        V4("both-links-down", "link-down", "c0 3.0", "10.24.0.1"),
        V4("link-down", "no-route", "c0 3.0", "10.27.0.1"), // Linux looks on as if there were no such route
        V4("demoted-egress", "demoted", "s5 packet", "10.22.0.1"),
        V4("tos", "tos-route", "s1 packet", "10.23.0.1", tos: 0x10),
        V4("other-tos", "tos-route", "s0 packet", "10.23.0.1"),
        V4("lwtunnel", "encapsulation", "s0 packet", "10.46.0.1"),
        V4("no-way-back", "reverse-path", "", Target, source: "99.1.1.1"),
        V4("suppress-ifgroup", "rule-unsupported", "s0 packet", "10.26.0.1", stage: Rule),
        V4("socket-of-ip", "packet-socket", "s0 packet", Target, stage: Socket),
        V4("route-without-nexthop", "table-full", "s0 packet", ExceptionLab.WithoutNexthop, stage: Full),
        Passed(V4("ours", "local-address", "c0 3.3", "10.2.0.1")),
        Passed(V4("loopback-destination", "local-address", "", "127.0.0.1")),
        Passed(V4("multicast", "multicast", "", "224.1.2.3")),
        Forwarded(V4("plain", "", "s0 packet", Target)),

        V6("no-route-6", "no-route", "c0 1.0", "2001:db8::1"),
        V6("no-neighbour-6", "no-neighbour", "c0 1.3, s0 ns", "fd02::77"),
        V6("hop-limit-1", "ttl-expired", "c0 3.0", Target6, hopLimit: 1),
        V6("hop-limit-0", "ttl-expired", "c0 3.0", Target6, hopLimit: 0),
        V6("too-big-6", "fragmentation-needed", "c0 2.0", "fd0b::1", more: 1330),
        V6("too-big-unlocked", "fragmentation-needed", "c0 2.0", "fd0a::1", more: 1380),
        V6("pad-n", "extension-header", "s0 packet", Target6, options: [17, 0, 1, 4, 0, 0, 0, 0]),
        V6("unknown-option", "extension-header", "c0 4.2", Target6, options: [17, 0, 0xbe, 4, 0, 0, 0, 0]),
        V6("anycast", "local", "c0 1.4", "fd02::"),
        V6("local-route-6", "local", "c0 1.4", "fd66::1"),
        V6("multicast-route-6", "multicast", "s0 packet", "fd45::1"),
        V6("blackhole-6", "blackhole", "", "fd20:1::1"),
        V6("unreachable-6", "unreachable", "c0 1.0", "fd20:2::1"),
        V6("prohibit-6", "prohibit", "c0 1.1", "fd20:3::1"),
        V6("throw-6", "throw", "c0 1.0", "fd20:5::1"),
        V6("nat-route", "route-unsupported", "s0 packet", "fd24::1"),
        V6("redirect-6", "redirect-needed", "c0 137.0, c0 packet", "fd01::9", source: "fd01::20"),
        V6("unspecified-source", "martian-source", "", Target6, source: "::"),
        V6("loopback-source-6", "martian-source", "", Target6, source: "::1"),
        V6("multicast-source-6", "martian-source", "", Target6, source: "ff0e::5"),
        V6("unspecified-destination", "martian-destination", "c0 1.0", "::"),
        V6("version-7", "header-error", "", Target6, edit: f => [.. f[..14], 0x70, .. f[15..]]),
        V6("cut-off-6", "truncated", "", Target6, edit: f => f[..^2]),
        V6("no-port-6", "egress-not-a-port", "s3 packet", "fd21::1"),
        V6("both-links-down-6", "link-down", "c0 1.0", "fd23::1"),
        V6("demoted-egress-6", "demoted", "s5 packet", "fd22::1"),
        V6("lwtunnel-6", "encapsulation", "s0 packet", "fd46::1"),
        V6("subtree", "source-route", "s0 packet", "fd0e::1"),
        V6("two-routes", "ambiguous-route", "s0 packet", "fd0f::1"),
        V6("suppress-ifgroup-6", "rule-unsupported", "s0 packet", "fd26::1", stage: Rule),
        V6("socket-of-ip-6", "packet-socket", "s0 packet", Target6, stage: Socket),
        Passed(V6("link-local-source", "link-local", "", Target6, source: "fe80::99")),
        Passed(V6("link-local-destination", "link-local", "c0 137.0, c0 packet", "fe80::1234", source: "fd01::21")),
        Passed(V6("multicast-destination", "multicast", "", "ff0e::1234")),
        Passed(V6("loopback-destination-6", "local-address", "", "::1")),
        Passed(V6("ours-6", "local-address", "c0 1.4", "fd02::1")),
        Forwarded(V6("own-source-6", "", "s0 packet", Target6, source: "fd02::1")),
        Forwarded(V6("plain-6", "", "s0 packet", Target6)),
    ];

    /// <summary>Reasons that no packet from outside can be punted for.</summary>
    public static IReadOnlyDictionary<string, string> NotToBeProvoked { get; } = new Dictionary<string, string>
    {
        ["not-ip"] = "the XDP program passes whatever isn't IP",
        ["link-local"] = "the XDP program passes link-local addresses (rows link-local-source, link-local-destination)",
    };

    private static ExceptionRow V4(
        string name, string reason, string reaction, string destination, string? source = null, byte ttl = 64, byte tos = 0, ushort flags = 0, byte[]? options = null,
        int more = 0, Func<byte[], byte[]>? edit = null, string stage = Plain) =>
        new(name, $"punted {reason}", reaction, (lab, id, payload) =>
        {
            byte[] frame = lab.FromClient().Ipv4(source ?? ExceptionLab.SourceOf(id), destination, ttl, tos, id, flags, options: options).Udp(1, RouterLab.SilentPort, [.. payload, .. new byte[more]]).Build();
            return edit is null ? frame : edit(frame);
        }, stage);

    private static ExceptionRow V6(
        string name, string reason, string reaction, string destination, string source = "fd01::2", byte hopLimit = 64, byte[]? options = null, int more = 0,
        Func<byte[], byte[]>? edit = null, string stage = Plain) =>
        new(name, $"punted {reason}", reaction, (lab, _, payload) =>
        {
            byte[] frame = lab.FromClient().Ipv6(source, destination, hopLimit, firstHeader: options is null ? null : (byte)0, extensions: options ?? s_nothing)
                .Udp(1, RouterLab.SilentPort, [.. payload, .. new byte[more]]).Build();
            return edit is null ? frame : edit(frame);
        }, stage);

    private static ExceptionRow Passed(ExceptionRow row) => row with { Way = row.Way.Replace("punted", "passed", StringComparison.Ordinal) };

    private static ExceptionRow Forwarded(ExceptionRow row) => row with { Way = "forwarded" };

    /// <summary>A changed IPv4 header with a true checksum.</summary>
    private static byte[] Header(byte[] frame, Action<byte[]> change)
    {
        byte[] ip = frame[14..34];
        change(ip);
        ip.AsSpan(10, 2).Clear();
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), PacketBuilder.Checksum(ip, 0));
        return [.. frame[..14], .. ip, .. frame[34..]];
    }
}
