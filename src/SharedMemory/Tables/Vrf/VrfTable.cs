using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// What holds for the whole VRF. Writer: fpmd. Readers: workers (most of it once per burst), the
/// control thread of fastpath (Change tells it to look), fpctl.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct VrfState
{
    public const int LatencyBuckets = 256;

    /// <summary>Bumped after every change that the fast path's control thread acts on (ports, addresses, demotions).</summary>
    public uint Change;

    /// <summary>The families of which everything in this VRF is Linux's (see the demotions for why).</summary>
    public Families PassAll;

    /// <summary>Nonzero: local routes were added by hand; sources are looked up in the FIB, as Linux then does.</summary>
    public uint CheckSource;

    /// <summary>1 once the first synchronization was completed.</summary>
    public uint EverSynchronized;

    /// <summary>1 while cmgrd is connected, has said that it is idle, and every update is in the tables.</summary>
    public uint Synchronized;

    public uint ManagerConnected;

    /// <summary>Nonzero: table local holds an IPv6 prefix shorter than /128: it is looked up first, and main only when it has nothing.</summary>
    public uint LocalFirst6;

    /// <summary>Nonzero: an IPv6 rule asks for protocol or ports, so that Linux dissects packets before it looks for a route (fib6_rules_require_fldissect).</summary>
    public uint RulesDissect6;

    public fixed uint IngressPass[Capacities.Ports];   // Families: of what this port receives, these are Linux's
    public fixed uint PortIfIndex[Capacities.Ports];   // 0: the port's interface is missing, or in another VRF
    public fixed byte RpFilter[Capacities.Ports];      // IPv4: 0 no source validation, 1 strict, 2 loose (RFC 3704)
    public fixed byte SendRedirects[Capacities.Ports]; // Families: Linux may answer with a redirect what leaves by the port it came in on
    public uint PortCount;

    // net.ipv4.fib_multipath_hash_policy, net.ipv6.fib_multipath_hash_policy (0 to 3), and of policy 3 the fields
    // (fib_multipath_hash_fields: FIB_MULTIPATH_HASH_FIELD_*).
    public uint MultipathPolicy4;
    public uint MultipathFields4;
    public uint MultipathPolicy6;
    public uint MultipathFields6;

    /// <summary>Never 0: decides, with the above, which member of a group a flow takes. Lives as long as the segment.</summary>
    public uint FlowSeed;

    /// <summary>net.ipv4.fib_multipath_hash_seed as last heard: only its change changes FlowSeed.</summary>
    public uint MultipathSeed;

    /// <summary>The policy rules of IPv4 and IPv6: a RuleList each. 0: only the default ones.</summary>
    public ulong Rules4;
    public ulong Rules6;

    public ulong Resyncs;
    public ulong Overruns;
    public ulong UnknownMessages;
    public ulong TableFull;      // updates refused because a table was full

    /// <summary>Netlink event read by cmgrd to visible to workers, microseconds: bucket b counts [LowerBound(b), LowerBound(b+1)).</summary>
    public ulong LatencyMax;
    public fixed ulong Latency[LatencyBuckets];

    /// <summary>CLOCK_MONOTONIC nanoseconds when the last batch was in the tables.</summary>
    public ulong LastChange;

    // The slow continuous audit (--audit): how often, how many objects in all, how many were wrong, Unix seconds of the last.
    public ulong AuditRuns;
    public ulong AuditChecked;
    public ulong AuditRepaired;
    public long AuditLast;

    /// <summary>Eight buckets to the octave.</summary>
    public static int BucketOf(ulong microseconds)
    {
        if (microseconds < 8)
        {
            return (int)microseconds;
        }

        int octave = 63 - System.Numerics.BitOperations.LeadingZeroCount(microseconds);
        return Math.Min(LatencyBuckets - 1, ((octave - 2) * 8) + (int)((microseconds >> (octave - 3)) & 7));
    }

    public static ulong LowerBound(int bucket) =>
        bucket < 8 ? (ulong)bucket : (8ul + ((ulong)bucket & 7)) << ((bucket >> 3) - 1);
}

[StructLayout(LayoutKind.Sequential)]
public unsafe struct Text256
{
    private fixed byte _bytes[256];

    public static Text256 From(string text)
    {
        Text256 t = default;
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        for (int i = 0; i < Math.Min(255, utf8.Length); i++)
        {
            t._bytes[i] = utf8[i];
        }

        return t;
    }

    public override readonly string ToString()
    {
        fixed (byte* p = _bytes)
        {
            ReadOnlySpan<byte> s = new(p, 256);
            int end = s.IndexOf((byte)0);
            return Encoding.UTF8.GetString(end < 0 ? s : s[..end]);
        }
    }
}

/// <summary>Address families, as bits.</summary>
[Flags]
public enum Families : uint
{
    None = 0,
    Ipv4 = 1,
    Ipv6 = 2,
    Both = 3,
}

/// <summary>The values of fastpathsync.fpc.DemotionEffect.</summary>
public enum DemotionEffect : uint
{
    None = 0,
    Vrf = 1,
    Ingress = 2,
    Egress = 3,
    Bypassed = 4,
    Partial = 5,
}

/// <summary>Something that is not honoured by the fast path. Key: object. Writer: fpmd. Readers: fpctl.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct DemotionRecord
{
    public DemotionEffect Effect;
    public uint IfIndex;
    public Families Families;   // never None
    public uint Reserved;
    public ulong Generation;
    public ulong Since;      // CLOCK_MONOTONIC nanoseconds
    public Text256 Object;
    public Text256 Reason;
}

public static unsafe class VrfSegment
{
    private const int StateBytes = 8192;

    public static nuint BodyLength => BodyLengthFor(Capacities.Demotions);

    public static nuint BodyLengthFor(int demotions) => StateBytes + RecordTable.BytesFor<DemotionRecord>(demotions);

    public static VrfState* State(Segment s) => (VrfState*)s.Body;

    public static byte* Demotions(Segment s) => s.Body + StateBytes;
}
