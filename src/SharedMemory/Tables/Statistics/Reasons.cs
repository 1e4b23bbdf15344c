using System.Text;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>Why a worker handed a packet to Linux. 0 must stay NoRoute: the zero nexthop word means it.</summary>
public enum PuntReason : byte
{
    NoRoute = 0,
    NoNeighbour = 1,
    TtlExpired = 2,
    FragmentationNeeded = 3,
    IpOptions = 4,
    Local = 5,
    Broadcast = 6,
    Multicast = 7,
    Blackhole = 8,
    Unreachable = 9,
    Prohibit = 10,
    Throw = 11,
    RouteUnsupported = 12,
    RedirectNeeded = 13,
    MartianSource = 14,
    MartianDestination = 15,
    HeaderError = 16,
    ChecksumError = 17,
    Truncated = 18,
    EgressNotAPort = 19,
    LinkDown = 20,
    Demoted = 21,
    TosRoute = 22,
    Encapsulation = 23,

    /// <summary>Several routes that are no siblings fit (IPv6): Linux chooses by the packet's interface, preference and neighbours.</summary>
    AmbiguousRoute = 24,
    NotIp = 25,
    TableFull = 26,

    /// <summary>IPv6 extension headers that routers look at: hop-by-hop options.</summary>
    ExtensionHeader = 27,

    /// <summary>A link-local source or destination (IPv6): never forwarded, Linux answers.</summary>
    LinkLocal = 28,

    /// <summary>Source validation (rp_filter) refuses the packet: Linux drops, counts and logs it.</summary>
    ReversePath = 29,

    /// <summary>An ip rule whose selector the fast path does not understand may apply.</summary>
    RuleUnsupported = 30,

    /// <summary>The destination has routes that depend on the source address (IPv6 subtrees).</summary>
    SourceRoute = 31,

    /// <summary>A packet socket of one protocol (ETH_P_IP, ETH_P_IPV6) wants it, which Linux serves behind its tc hooks.</summary>
    PacketSocket = 32,
    Count = 33,
}

/// <summary>Why a packet ended in the fast path.</summary>
public enum DropReason : byte
{
    /// <summary>The egress port's TX ring had no room.</summary>
    TxRingFull = 0,

    /// <summary>The packet was to be punted and the kernel took it not (socket buffer full).</summary>
    PuntOverrun = 1,

    /// <summary>The kernel dropped it before the worker saw it: the worker's RX ring was full.</summary>
    RxRingFull = 2,

    /// <summary>The kernel dropped it before the worker saw it: no free UMEM frame.</summary>
    NoFrame = 3,

    /// <summary>The packet was to be punted, and its reason's token bucket was empty.</summary>
    PuntLimited = 4,
    Count = 5,
}

/// <summary>Why the XDP program passed a packet to Linux at once. Same numbers as enum pass_reason in bpf/xdp_def.h.</summary>
public enum PassReason : byte
{
    Arp = 0,

    /// <summary>A link-local IPv6 source or destination: ND, or never forwarded.</summary>
    LinkLocal = 1,
    NotIp = 2,
    Multicast = 3,
    OtherHost = 4,
    LocalAddress = 5,
    Truncated = 6,
    Demoted = 7,
    HeartbeatLost = 8,
    NoSocket = 9,
    Reinjected = 10,

    /// <summary>Longer than the port's MTU or a UMEM frame: a GSO packet, or one that the port's MTU does not promise.</summary>
    Oversize = 11,
    Count = 12,
}

public static class ReasonNames
{
    private static readonly string[] s_punt = Names<PuntReason>((int)PuntReason.Count);
    private static readonly string[] s_drop = Names<DropReason>((int)DropReason.Count);
    private static readonly string[] s_pass = Names<PassReason>((int)PassReason.Count);
    private static readonly string[] s_command = Names<FptunCommand>((int)FptunCommand.Count);
    private static readonly string[] s_node = Names<PipelineNode>((int)PipelineNode.Count);
    private static readonly string[] s_refusal = Names<FptunRefusal>((int)FptunRefusal.Count);
    private static readonly string[] s_output = Names<FptunOutput>((int)FptunOutput.Count);

    /// <summary>"ttl-expired": the name in counters, in JSON and in documents.</summary>
    public static string Of(PuntReason reason) => s_punt[(int)reason];

    public static string Of(DropReason reason) => s_drop[(int)reason];

    public static string Of(PassReason reason) => s_pass[(int)reason];

    public static string Of(FptunCommand command) => s_command[(int)command];

    public static string Of(PipelineNode node) => s_node[(int)node];

    public static string Of(FptunRefusal reason) => s_refusal[(int)reason];

    public static string Of(FptunOutput outcome) => s_output[(int)outcome];

    private static string[] Names<T>(int count)
        where T : struct, Enum
    {
        string[] names = new string[count];
        foreach (T value in Enum.GetValues<T>())
        {
            int i = Convert.ToInt32(value, System.Globalization.CultureInfo.InvariantCulture);
            if (i < count)
            {
                names[i] = Kebab(value.ToString());
            }
        }

        return names;
    }

    private static string Kebab(string pascal)
    {
        StringBuilder b = new();
        foreach (char c in pascal)
        {
            if (char.IsUpper(c) && b.Length > 0)
            {
                b.Append('-');
            }

            b.Append(char.ToLowerInvariant(c));
        }

        return b.ToString();
    }
}
