using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace FastPathSync.Differential;

/// <summary>A frame on one line, in scapy's words.</summary>
internal static class FrameText
{
    public static string Describe(ReadOnlySpan<byte> f)
    {
        if (f.Length < 14)
        {
            return $"{f.Length} bytes";
        }

        StringBuilder s = new();
        s.Append($"Ether(dst='{Hosts.Text(f[..6])}', src='{Hosts.Text(f.Slice(6, 6))}', type=0x{Word(f, 12):04x})");
        int type = Word(f, 12), at = 14;
        while (type == 0x8100 && f.Length >= at + 4)
        {
            s.Append($"/Dot1Q(vlan={Word(f, at) & 0xfff}, type=0x{Word(f, at + 2):x4})");
            type = Word(f, at + 2);
            at += 4;
        }

        Network(s, f[at..], type);
        return s.Append($"  # {f.Length} bytes").ToString();
    }

    public static string Hex(ReadOnlySpan<byte> f) => Convert.ToHexString(f).ToLowerInvariant();

    private static void Network(StringBuilder s, ReadOnlySpan<byte> p, int type)
    {
        if (type == 0x0800 && p.Length >= 20)
        {
            int header = Math.Min(Math.Max(20, (p[0] & 15) * 4), p.Length), offset = Word(p, 6);
            s.Append($"/IP(version={p[0] >> 4}, ihl={p[0] & 15}, tos=0x{p[1]:x}, len={Word(p, 2)}, id={Word(p, 4)}, flags='{((offset & 0x4000) != 0 ? "DF" : "")}{((offset & 0x2000) != 0 ? "MF" : "")}', frag={offset & 0x1fff}, ")
                .Append($"ttl={p[8]}, proto={p[9]}, chksum=0x{Word(p, 10):x}, src='{new IPAddress(p.Slice(12, 4))}', dst='{new IPAddress(p.Slice(16, 4))}'");
            s.Append(header > 20 ? $", options=IPOption(bytes.fromhex('{Hex(p[20..header])}')))" : ")");
            Transport(s, p[header..], (offset & 0x1fff) == 0 ? p[9] : 255);
        }
        else if (type == 0x86dd && p.Length >= 40)
        {
            s.Append($"/IPv6(version={p[0] >> 4}, tc=0x{(Word(p, 0) >> 4) & 0xff:x}, fl=0x{((p[1] & 15) << 16) | Word(p, 2):x}, plen={Word(p, 4)}, nh={p[6]}, hlim={p[7]}, src='{new IPAddress(p.Slice(8, 16))}', dst='{new IPAddress(p.Slice(24, 16))}')");
            Transport(s, p[40..], p[6]);
        }
        else
        {
            s.Append($"/Raw({p.Length} bytes)");
        }
    }

    private static void Transport(StringBuilder s, ReadOnlySpan<byte> t, int protocol)
    {
        while (protocol is 0 or 43 or 44 or 60 && t.Length >= 8)
        {
            int length = protocol == 44 ? 8 : Math.Min((t[1] + 1) * 8, t.Length);
            s.Append($"/{protocol switch { 0 => "IPv6ExtHdrHopByHop", 43 => "IPv6ExtHdrRouting", 44 => "IPv6ExtHdrFragment", _ => "IPv6ExtHdrDestOpt" }}({Hex(t[..length])})");
            protocol = t[0];
            t = t[length..];
        }

        s.Append(protocol switch
        {
            17 when t.Length >= 8 => $"/UDP(sport={Word(t, 0)}, dport={Word(t, 2)}, len={Word(t, 4)}, chksum=0x{Word(t, 6):x})/Raw({t.Length - 8} bytes)",
            6 when t.Length >= 20 => $"/TCP(sport={Word(t, 0)}, dport={Word(t, 2)}, flags=0x{t[13]:x})/Raw({t.Length - 20} bytes)",
            1 or 58 when t.Length >= 8 => $"/{(protocol == 1 ? "ICMP" : "ICMPv6")}(type={t[0]}, code={t[1]}, rest=0x{BinaryPrimitives.ReadUInt32BigEndian(t[4..]):x})/Raw({t.Length - 8} bytes)",
            _ => $"/Raw({t.Length} bytes)",
        });
    }

    private static int Word(ReadOnlySpan<byte> f, int at) => at + 2 <= f.Length ? BinaryPrimitives.ReadUInt16BigEndian(f[at..]) : 0;
}
