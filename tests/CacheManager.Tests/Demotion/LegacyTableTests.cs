using System.Runtime.InteropServices;
using FastPathSync.CacheManager.Features.Demotion;
using FsCheck;
using FsCheck.Fluent;

namespace FastPathSync.CacheManager.Tests.Demotion;

public sealed class LegacyTableTests
{
    private const int EntrySize = 152; // struct ipt_entry (112) and a standard target (40), as ip_tables lays out a policy
    private static readonly int[] Hooks = [1, 2, 3]; // the table filter: LOCAL_IN, FORWARD, LOCAL_OUT

    [Fact]
    public void EmptyAcceptingTableHasNoReason() => Assert.Null(Reason(Info(EntrySize), Policies(-2)));

    [Fact]
    public void PolicyOfDropIsAReason() => Assert.Contains("FORWARD", Reason(Info(EntrySize), Policies(-1)), StringComparison.Ordinal);

    [Fact]
    public void EntryBeforeThePolicyIsAReason() => Assert.Contains("rules in FORWARD", Reason(Info(0), Policies(-2)), StringComparison.Ordinal);

    [Fact]
    public void PolicyThatCannotBeReadIsAReason() => Assert.NotNull(Reason(Info(EntrySize), Policies(-2)[..200]));

    [Fact]
    public void AnyBytesAreJudgedWithoutThrowing() =>
        Prop.ForAll<byte[], byte[]>((info, entries) =>
        {
            LegacyTable table = new("filter");
            table.SetInfo([.. info, .. new byte[LegacyTable.InfoSize]]);
            table.SetEntries(entries);
            _ = table.Reason();
            _ = table.Size;
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void TruncatedAndCorruptEntriesAreJudgedWithoutThrowing() =>
        Prop.ForAll<int, int, byte>((cut, at, value) =>
        {
            byte[] entries = Policies(-2);
            entries[(at & int.MaxValue) % entries.Length] = value;
            _ = Reason(Info(EntrySize), entries[..((cut & int.MaxValue) % entries.Length)]);
        }).QuickCheckThrowOnFailure();

    private static string? Reason(byte[] info, byte[] entries)
    {
        LegacyTable table = new("filter");
        Assert.True(table.SetInfo(info));
        table.SetEntries(entries);
        return table.Reason();
    }

    /// <summary>Three chains that hold their policy only, but for where FORWARD begins.</summary>
    private static byte[] Info(int forwardEntry)
    {
        byte[] info = new byte[LegacyTable.InfoSize];
        MemoryMarshal.Write(info.AsSpan(32), 0b1110);
        for (int i = 0; i < Hooks.Length; i++)
        {
            MemoryMarshal.Write(info.AsSpan(36 + (4 * Hooks[i])), Hooks[i] == 2 ? forwardEntry : i * EntrySize);
            MemoryMarshal.Write(info.AsSpan(56 + (4 * Hooks[i])), i * EntrySize);
        }

        MemoryMarshal.Write(info.AsSpan(76), 4);
        MemoryMarshal.Write(info.AsSpan(80), 3 * EntrySize);
        return info;
    }

    private static byte[] Policies(int verdict)
    {
        byte[] entries = new byte[3 * EntrySize];
        for (int i = 0; i < 3; i++)
        {
            Span<byte> entry = entries.AsSpan(i * EntrySize, EntrySize);
            MemoryMarshal.Write(entry[88..], (ushort)112);
            MemoryMarshal.Write(entry[90..], (ushort)EntrySize);
            MemoryMarshal.Write(entry[112..], (ushort)40);
            MemoryMarshal.Write(entry[144..], verdict);
        }

        return entries;
    }
}
