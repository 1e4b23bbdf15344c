using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// All tables of a VRF without ports in one memfd: the body begins with where they are, each begins with a segment header of
/// its own, so that a part is used like any segment. One inode, one mapping, and pages that several small tables share.
/// Writer: fpmd. Readers: fpctl.
/// </summary>
public static unsafe class VrfTablesSegment
{
    private const int MaxParts = 30;
    private const nuint Alignment = 128, DirectoryBytes = 64 + (MaxParts * 32);

    [StructLayout(LayoutKind.Sequential, Size = 32)]
    private struct Part
    {
        public SegmentKind Kind;
        public uint Reserved;
        public ulong Offset;   // from the beginning of the memfd
        public ulong Length;
    }

    /// <summary>Makes the memfd with all its tables empty.</summary>
    /// <param name="vrf">Whose tables.</param>
    /// <param name="parts">What is to be in it: name in a VRF, kind, capacity, length of the body.</param>
    public static Segment Create(string vrf, IReadOnlyList<(string Name, SegmentKind Kind, int Capacity, nuint Body)> parts)
    {
        nuint at = Begin();
        foreach ((_, _, _, nuint body) in parts)
        {
            at += Padded(body);
        }

        Segment s = Segment.Create(SegmentNames.Of(vrf, SegmentNames.VrfTables), SegmentKind.VrfTables, (ulong)parts.Count, at - SegmentHeader.Size);
        at = Begin();
        for (int i = 0; i < parts.Count; i++)
        {
            (string name, SegmentKind kind, int capacity, nuint body) = parts[i];
            Entries(s)[i] = new Part { Kind = kind, Offset = at, Length = Padded(body) };
            s.Part(SegmentNames.Of(vrf, name), at, Padded(body)).Begin(kind, (ulong)capacity);
            at += Padded(body);
        }

        return s;
    }

    /// <summary>One of its tables, or null when it has none of this kind.</summary>
    /// <exception cref="SegmentException">What its directory says can't be.</exception>
    public static Segment? TryOpen(Segment whole, string name, SegmentKind kind)
    {
        for (int i = 0; i < Math.Min(whole.Capacity, MaxParts); i++)
        {
            Part p = Entries(whole)[i];
            if (p.Kind == kind)
            {
                return p.Offset + p.Length <= whole.BodyLength + SegmentHeader.Size && p.Length >= SegmentHeader.Size
                    ? whole.Part(name, (nuint)p.Offset, (nuint)p.Length)
                    : throw new SegmentException(name, "lies outside of its memory; stop the instance and start it again (fpctl stop; fpctl start ...)");
            }
        }

        return null;
    }

    private static Part* Entries(Segment s) => (Part*)(s.Body + 64);

    private static nuint Begin() => SegmentHeader.Size + DirectoryBytes;

    private static nuint Padded(nuint body) => (body + SegmentHeader.Size + Alignment - 1) / Alignment * Alignment;
}
