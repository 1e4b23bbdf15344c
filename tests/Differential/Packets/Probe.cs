using System.Buffers.Binary;

namespace FastPathSync.Differential;

/// <summary>One packet, sent to both routers on the same port. Its tag, where it has room for one, is found again in what comes out.</summary>
internal sealed record Probe(int Case, int Port, string Kind, byte[] Frame, ulong Tag)
{
    /// <summary>Is the tag in these bytes?</summary>
    public bool Marks(ReadOnlySpan<byte> bytes)
    {
        Span<byte> tag = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(tag, Tag);
        return bytes.IndexOf(tag) >= 0;
    }

    public override string ToString() => $"case {Case}, {Kind}, into p{Port}: {FrameText.Describe(Frame)}";
}
