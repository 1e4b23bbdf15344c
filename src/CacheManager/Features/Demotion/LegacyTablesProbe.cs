using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// iptables-legacy and ip6tables-legacy, which announce nothing: their tables are looked at ten times a second. Asking for a table that a namespace
/// does not have yet would create it with its hooks, so only those that ip_tables_names (ip6_tables_names) lists
/// are asked for.
/// </summary>
internal sealed unsafe class LegacyTablesProbe(bool ipv6 = false) : Probe
{
    // linux/netfilter_ipv4/ip_tables.h; IP6T_SO_GET_INFO and IP6T_SO_GET_ENTRIES of ip6_tables.h are the same numbers
    private const int IPT_SO_GET_INFO = 64, IPT_SO_GET_ENTRIES = 65;

    /// <summary>Of this thread's namespace.</summary>
    private readonly string _namesPath = $"/proc/thread-self/net/{(ipv6 ? "ip6" : "ip")}_tables_names";

    /// <summary>Reading a table of thousands of rules each time only to see a policy would cost: then at most 1/20 of the time.</summary>
    private const int CostFactor = 20;

    private readonly Dictionary<string, LegacyTable> _known = [];
    private byte[] _buffer = new byte[16 * 1024];
    private FileDescriptor? _socket;

    public override string Name => ipv6 ? "ip6tables-legacy" : "iptables-legacy";

    public override TimeSpan Period => TimeSpan.FromMilliseconds(90);

    // Any socket of the family will do for the kernel (nf_getsockopt), given CAP_NET_ADMIN.
    public override void Open() =>
        _socket = FileDescriptor.FromCall(Libc.socket(ipv6 ? Libc.AF_INET6 : Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0), "socket", $"for {Name}");

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        IReadOnlyList<string> names = ReadNames();
        foreach (string gone in _known.Keys.Except(names).ToList())
        {
            _known.Remove(gone);
        }

        foreach (string name in names)
        {
            if (!_known.TryGetValue(name, out LegacyTable? table))
            {
                _known[name] = table = new LegacyTable(name, ipv6);
            }

            if (Refresh(table) && table.Reason() is { } reason)
            {
                findings.Add(new Finding($"{Name} table {name}", reason, DemotionEffect.Vrf, 0, ipv6 ? Families.Ipv6 : Families.Ipv4));
            }
        }
    }

    public override void Dispose()
    {
        _socket?.Dispose();
        _socket = null;
        _known.Clear();
    }

    /// <summary>False when the table has gone meanwhile.</summary>
    private bool Refresh(LegacyTable table)
    {
        Span<byte> info = stackalloc byte[LegacyTable.InfoSize];
        table.WriteName(info);
        int length = LegacyTable.InfoSize;
        int errno = Get(IPT_SO_GET_INFO, info, ref length);
        if (errno == Errno.ENOENT)
        {
            return false;
        }

        if (errno != 0)
        {
            throw new LinuxException(errno, "IPT_SO_GET_INFO", table.Name);
        }

        bool changed = table.SetInfo(info[..length]);
        if (table.HoldsRules)
        {
            return true; // whatever the policies: no need to read thousands of entries
        }

        long now = Stopwatch.GetTimestamp();
        if (!changed && now < table.NextEntries)
        {
            return true;
        }

        int size = LegacyTable.EntriesHeaderSize + table.Size;
        if (_buffer.Length < size)
        {
            _buffer = new byte[size];
        }

        Span<byte> entries = _buffer.AsSpan(0, size);
        entries[..LegacyTable.EntriesHeaderSize].Clear();
        table.WriteName(entries);
        MemoryMarshal.Write(entries[LegacyTable.NameSize..], table.Size);
        length = size;
        errno = Get(IPT_SO_GET_ENTRIES, entries, ref length);
        if (errno == Errno.EAGAIN)
        {
            table.ForgetInfo(); // replaced between the two calls: the next look sees it whole
            return true;
        }

        if (errno != 0)
        {
            throw new LinuxException(errno, "IPT_SO_GET_ENTRIES", table.Name);
        }

        table.SetEntries(entries[LegacyTable.EntriesHeaderSize..length]);
        long after = Stopwatch.GetTimestamp();
        table.NextEntries = after + ((after - now) * CostFactor);
        return true;
    }

    private int Get(int option, Span<byte> value, ref int length)
    {
        uint n = (uint)length;
        fixed (byte* p = value)
        {
            int result = Libc.getsockopt(_socket!.Number, ipv6 ? Libc.SOL_IPV6 : Libc.SOL_IP, option, p, &n);
            length = (int)Math.Min(n, (uint)value.Length);
            return result < 0 ? Marshal.GetLastPInvokeError() : 0;
        }
    }

    private List<string> ReadNames()
    {
        int fd = Libc.open(_namesPath, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            return errno == Errno.ENOENT ? [] : throw new LinuxException(errno, "open", _namesPath); // no iptables-legacy (yet)
        }

        using FileDescriptor file = new(fd);
        byte* text = stackalloc byte[1024]; // five tables exist, of names under 32 bytes
        nint n = LinuxException.ThrowIfNegative(Libc.read(fd, text, 1024), "read", _namesPath);
        return [.. Encoding.ASCII.GetString(text, (int)n).Split('\n', StringSplitOptions.RemoveEmptyEntries)];
    }
}
