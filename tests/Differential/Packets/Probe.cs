using System.Buffers.Binary;

namespace FastPathSync.Differential;

/// <summary>One packet, sent to both routers on the same port. Its tag, where it has room for one, is found again in what comes out.</summary>
internal sealed record Probe(int Case, int Port, string Kind, byte[] Frame, ulong Tag)
{
    /// <summary>Is the tag in these bytes, or are they the packet itself, as a router forwards it?</summary>
    public bool Marks(ReadOnlySpan<byte> bytes)
    {
        Span<byte> tag = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(tag, Tag);
        return bytes.IndexOf(tag) >= 0 || Unchanged(Frame).SequenceEqual(Unchanged(bytes));
    }

    /// <summary>What no router changes: all but MAC addresses, hop count and IPv4's checksum; without what stands behind the packet.</summary>
    private static byte[] Unchanged(ReadOnlySpan<byte> frame)
    {
        if (frame.Length >= 34 && frame[12] == 8 && frame[13] == 0)
        {
            byte[] ipv4 = frame[12..Math.Clamp(14 + BinaryPrimitives.ReadUInt16BigEndian(frame[16..]), 34, frame.Length)].ToArray();
            ipv4[10] = ipv4[12] = ipv4[13] = 0;
            return ipv4;
        }

        if (frame.Length >= 54 && frame[12] == 0x86 && frame[13] == 0xdd)
        {
            byte[] ipv6 = frame[12..Math.Clamp(54 + BinaryPrimitives.ReadUInt16BigEndian(frame[18..]), 54, frame.Length)].ToArray();
            ipv6[9] = 0;
            return ipv6;
        }

        return frame.ToArray();
    }

    public override string ToString() => $"case {Case}, {Kind}, into p{Port}: {FrameText.Describe(Frame)}";
}
