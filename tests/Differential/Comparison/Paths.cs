using System.Buffers.Binary;
using System.Net;
using System.Text.Json;

namespace FastPathSync.Differential;

/// <summary>
/// The ways out that the kernel's route for a packet has (`ip route get fibmatch`), to choose what to send where. Which of them a
/// packet takes is compared like everything else: both routers hash with one seed.
/// </summary>
internal sealed class Paths(RouterPair routers)
{
    private readonly Dictionary<string, IReadOnlyList<Way>> _ways = [];
    private Dictionary<(string Address, string Dev), string>? _neighbours;

    /// <summary>Out of which port, to which MAC address (null: not resolved).</summary>
    public sealed record Way(int Port, string? Mac);

    public void ForgetAll()
    {
        _ways.Clear();
        _neighbours = null;
    }

    /// <summary>The ways the kernel's route for this packet has; empty when it has no route, or isn't IP.</summary>
    public IReadOnlyList<Way> Of(Probe probe)
    {
        byte[] f = probe.Frame;
        bool ipv4 = f.Length >= 34 && f[12] == 8 && f[13] == 0, ipv6 = f.Length >= 54 && f[12] == 0x86 && f[13] == 0xdd;
        if (!ipv4 && !ipv6)
        {
            return [];
        }

        IPAddress source = new(ipv4 ? f.AsSpan(26, 4) : f.AsSpan(22, 16)), destination = new(ipv4 ? f.AsSpan(30, 4) : f.AsSpan(38, 16));
        int protocol = ipv4 ? f[23] : f[20], tos = ipv4 ? f[15] & 0xfc : 0, at = ipv4 ? 14 + ((f[14] & 15) * 4) : 54;
        string ports = protocol is 6 or 17 && f.Length >= at + 4
            ? $" ipproto {(protocol == 6 ? "tcp" : "udp")} sport {BinaryPrimitives.ReadUInt16BigEndian(f.AsSpan(at))} dport {BinaryPrimitives.ReadUInt16BigEndian(f.AsSpan(at + 2))}"
            : "";
        string question = $"{(ipv4 ? "-4" : "-6")} -j route get fibmatch {destination} from {source} iif p{probe.Port}{(tos != 0 ? $" tos 0x{tos:x}" : "")}{ports}";
        if (!_ways.TryGetValue(question, out IReadOnlyList<Way>? ways))
        {
            _ways[question] = ways = Parse(routers.Ip(Side.Kernel, question), destination.ToString());
        }

        return ways;
    }

    private List<Way> Parse(string answer, string destination)
    {
        List<Way> ways = [];
        if (!answer.StartsWith('['))
        {
            return ways;
        }

        using JsonDocument document = JsonDocument.Parse(answer);
        JsonElement route = document.RootElement[0];
        foreach (JsonElement hop in route.TryGetProperty("nexthops", out JsonElement hops) ? hops.EnumerateArray().ToArray() : [route])
        {
            string flags = hop.TryGetProperty("flags", out JsonElement f) ? f.ToString() : "";
            if (!hop.TryGetProperty("dev", out JsonElement dev) || dev.GetString() is not ['p', >= '0' and <= '9'] name || flags.Contains("dead", StringComparison.Ordinal))
            {
                continue;
            }

            string gateway = hop.TryGetProperty("gateway", out JsonElement g) ? g.GetString()! : hop.TryGetProperty("via", out JsonElement via) ? via.GetProperty("host").GetString()! : destination;
            // Behind a cable that is cut nobody answers, whatever is known of the neighbour.
            string? mac = flags.Contains("linkdown", StringComparison.Ordinal) ? null : Neighbour(gateway, name);
            ways.Add(new Way(name[1] - '0', mac));
        }

        return ways;
    }

    private string? Neighbour(string address, string dev)
    {
        if (_neighbours is null)
        {
            _neighbours = [];
            // "nud all": without it `ip` leaves NOARP entries out.
            using JsonDocument document = JsonDocument.Parse(routers.Ip(Side.Kernel, "-j neighbor show nud all"));
            foreach (JsonElement n in document.RootElement.EnumerateArray())
            {
                if (n.TryGetProperty("lladdr", out JsonElement mac))
                {
                    _neighbours[(n.GetProperty("dst").GetString()!, n.GetProperty("dev").GetString()!)] = mac.GetString()!;
                }
            }
        }

        // Not asked for yet by the kernel: what the host would answer.
        return _neighbours.TryGetValue((address, dev), out string? known) ? known
            : Hosts.Answers(IPAddress.Parse(address).GetAddressBytes()) ? Hosts.Text(Hosts.MacOf(address)) : null;
    }
}
