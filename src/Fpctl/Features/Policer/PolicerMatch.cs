using System.Globalization;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>What a policer looks at: "all", or words that must all hold, "udp,dport=53".</summary>
internal readonly record struct PolicerMatch(PolicerMatchBits Bits, byte Protocol = 0, ushort Dport = 0, byte Ttl = 0)
{
    public const string Words = "all, or some of arp, nd, icmp, tcp, udp, proto=N, dport=N, ttl=N with commas between";

    private const byte Tcp = 6, Udp = 17; // IANA protocol numbers
    private const PolicerMatchBits Kinds = PolicerMatchBits.Arp | PolicerMatchBits.Nd | PolicerMatchBits.Icmp | PolicerMatchBits.Proto;

    /// <exception cref="CliError">It can't be understood, or nothing could ever match.</exception>
    public static PolicerMatch Parse(string text)
    {
        if (text == "all")
        {
            return default;
        }

        PolicerMatch match = default;
        foreach (string word in text.Split(','))
        {
            PolicerMatch one = Word(text, word);
            if ((match.Bits & one.Bits) != 0 || ((match.Bits & Kinds) != 0 && (one.Bits & Kinds) != 0))
            {
                throw Refusal(text, $"'{word}' and what stands before it exclude each other");
            }

            match = new PolicerMatch(match.Bits | one.Bits, (byte)(match.Protocol | one.Protocol), (ushort)(match.Dport | one.Dport), (byte)(match.Ttl | one.Ttl));
        }

        bool noPorts = (match.Bits & Kinds) switch
        {
            0 => false,
            PolicerMatchBits.Proto => match.Protocol is not (Tcp or Udp),
            _ => true,
        };
        return match switch
        {
            _ when match.Bits.HasFlag(PolicerMatchBits.Arp) && match.Bits != PolicerMatchBits.Arp => throw Refusal(text, "ARP has neither ports nor a TTL"),
            _ when match.Bits.HasFlag(PolicerMatchBits.Dport) && noPorts => throw Refusal(text, "only TCP and UDP have ports"),
            _ => match,
        };
    }

    public static PolicerMatch Of(in PolicerConstants c) => new((PolicerMatchBits)c.Match, c.Protocol, c.Dport, c.Ttl);

    /// <summary>As it can be given again.</summary>
    public override string ToString()
    {
        List<string> words = [];
        PolicerMatchBits bits = Bits;
        Add(PolicerMatchBits.Arp, "arp");
        Add(PolicerMatchBits.Nd, "nd");
        Add(PolicerMatchBits.Icmp, "icmp");
        Add(PolicerMatchBits.Proto, Protocol switch { Tcp => "tcp", Udp => "udp", _ => $"proto={Protocol}" });
        Add(PolicerMatchBits.Dport, $"dport={Dport}");
        Add(PolicerMatchBits.Ttl, $"ttl={Ttl}");
        return words.Count == 0 ? "all" : string.Join(',', words);

        void Add(PolicerMatchBits bit, string word)
        {
            if (bits.HasFlag(bit))
            {
                words.Add(word);
            }
        }
    }

    private static PolicerMatch Word(string text, string word)
    {
        string[] parts = word.Split('=');
        return (parts[0], parts.Length) switch
        {
            ("arp", 1) => new(PolicerMatchBits.Arp),
            ("nd", 1) => new(PolicerMatchBits.Nd),
            ("icmp", 1) => new(PolicerMatchBits.Icmp),
            ("tcp", 1) => new(PolicerMatchBits.Proto, Protocol: Tcp),
            ("udp", 1) => new(PolicerMatchBits.Proto, Protocol: Udp),
            ("proto", 2) => new(PolicerMatchBits.Proto, Protocol: (byte)Number(text, parts[1], byte.MaxValue)),
            ("dport", 2) => new(PolicerMatchBits.Dport, Dport: (ushort)Number(text, parts[1], ushort.MaxValue)),
            ("ttl", 2) => new(PolicerMatchBits.Ttl, Ttl: (byte)Number(text, parts[1], byte.MaxValue)),
            _ => throw Refusal(text, $"'{word}' is no such word"),
        };
    }

    private static int Number(string text, string number, int most) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n <= most
            ? n
            : throw Refusal(text, $"'{number}' is not a number from 0 to {most}");

    private static CliError Refusal(string text, string why) => new($"--match {text}: {why}; give {Words}", CliError.Usage);
}
