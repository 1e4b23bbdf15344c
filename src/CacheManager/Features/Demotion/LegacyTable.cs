using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// What struct ipt_getinfo (ip6t_getinfo is the same) and the entries of a legacy table say about the three hooks that a forwarded packet passes.
/// A built-in chain begins at hook_entry and ends with its policy, an unconditional standard target, at underflow: it has
/// rules exactly when the two differ.
/// </summary>
internal sealed class LegacyTable(string name, bool ipv6 = false)
{
    public const int NameSize = 32;          // XT_TABLE_MAXNAMELEN
    public const int InfoSize = 84;          // sizeof(struct ipt_getinfo)
    public const int EntriesHeaderSize = 40; // sizeof(struct ipt_get_entries)

    // struct ipt_getinfo { char name[32]; u32 valid_hooks, hook_entry[5], underflow[5], num_entries, size; }
    private const int OffsetValidHooks = 32, OffsetHookEntry = 36, OffsetUnderflow = 56, OffsetEntries = 76, OffsetSize = 80;

    // struct ipt_entry { struct ipt_ip ip; u32 nfcache; u16 target_offset, next_offset; u32 comefrom; xt_counters counters; }
    // struct xt_standard_target { u16 target_size; char name[29]; u8 revision; int verdict; }
    // struct ip6t_entry is the same behind struct ip6t_ip6, which is 52 bytes longer, and with its counters at a multiple of 8
    private const int OffsetTargetName = 2, OffsetVerdict = 32;
    private const int AcceptVerdict = -2; // -NF_ACCEPT - 1
    private const int LargestSize = 256 * 1024 * 1024;
    private static readonly (int Hook, string Chain)[] Forwarded = [(0, "PREROUTING"), (2, "FORWARD"), (4, "POSTROUTING")];

    private readonly int _entrySize = ipv6 ? 168 : 112;
    private readonly int _offsetTarget = ipv6 ? 140 : 88;
    private readonly byte[] _info = new byte[InfoSize];
    private readonly List<string> _policies = [];

    public string Name { get; } = name;

    private string Tool { get; } = ipv6 ? "ip6tables-legacy" : "iptables-legacy";

    /// <summary>Of all its entries, in bytes.</summary>
    public int Size => Math.Clamp(Field(OffsetSize), 0, LargestSize);

    /// <summary>When its entries may be read again (Stopwatch ticks).</summary>
    public long NextEntries { get; set; }

    public bool HoldsRules => Forwarded.Any(c => HasRules(c.Hook));

    public void WriteName(Span<byte> structure) => Encoding.ASCII.GetBytes(Name.AsSpan(0, Math.Min(Name.Length, NameSize - 1)), structure);

    /// <summary>Takes a struct ipt_getinfo; true when it differs from the last.</summary>
    public bool SetInfo(ReadOnlySpan<byte> info)
    {
        if (info.Length < InfoSize || info[..InfoSize].SequenceEqual(_info))
        {
            return false;
        }

        info[..InfoSize].CopyTo(_info);
        return true;
    }

    public void ForgetInfo() => _info.AsSpan(0, NameSize).Clear();

    /// <summary>Takes the entries: notes the policies that don't accept, and those that cannot be read.</summary>
    public void SetEntries(ReadOnlySpan<byte> entries)
    {
        _policies.Clear();
        foreach ((int hook, string chain) in Forwarded)
        {
            if (Valid(hook) && !Accepts(entries, Field(OffsetUnderflow + (4 * hook))))
            {
                _policies.Add(chain);
            }
        }
    }

    /// <summary>Why the table demotes, or null when it changes no forwarded packet.</summary>
    public string? Reason()
    {
        if (HoldsRules)
        {
            IEnumerable<string> with = Forwarded.Where(c => HasRules(c.Hook)).Select(c => c.Chain);
            return $"{Tool} table {Name} holds rules in {string.Join(", ", with)} ({Field(OffsetEntries)} entries in all), which every forwarded packet would meet";
        }

        return _policies.Count > 0 ? $"the policy of {string.Join(", ", _policies)} in {Tool} table {Name} is not ACCEPT" : null;
    }

    private bool Accepts(ReadOnlySpan<byte> entries, int at)
    {
        if (at < 0 || at > entries.Length - _entrySize)
        {
            return false;
        }

        ReadOnlySpan<byte> entry = entries[at..];
        int target = MemoryMarshal.Read<ushort>(entry[_offsetTarget..]);
        if (target < _entrySize || target > entry.Length - OffsetVerdict - 4)
        {
            return false;
        }

        ReadOnlySpan<byte> t = entry[target..];
        return t[OffsetTargetName] == 0 && MemoryMarshal.Read<int>(t[OffsetVerdict..]) == AcceptVerdict; // "" is the standard target
    }

    private bool HasRules(int hook) => Valid(hook) && Field(OffsetHookEntry + (4 * hook)) != Field(OffsetUnderflow + (4 * hook));

    private bool Valid(int hook) => (Field(OffsetValidHooks) & (1 << hook)) != 0;

    private int Field(int offset) => MemoryMarshal.Read<int>(_info.AsSpan(offset));
}
