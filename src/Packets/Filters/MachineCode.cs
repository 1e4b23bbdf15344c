using System.Buffers.Binary;

namespace FastPathSync.Packets.Filters;

/// <summary>Machine code in the making: bytes, and relative jumps to places that may come later.</summary>
internal sealed class MachineCode
{
    private readonly List<byte> _bytes = new(1024);
    private readonly List<int> _labels = [];
    private readonly List<(int At, int Label)> _jumps = [];

    public int NewLabel()
    {
        _labels.Add(-1);
        return _labels.Count - 1;
    }

    public void Mark(int label) => _labels[label] = _bytes.Count;

    public void Add(params ReadOnlySpan<byte> bytes) => _bytes.AddRange(bytes);

    /// <summary>An instruction that ends with a number of 32 bits.</summary>
    public void Add(ReadOnlySpan<byte> opcode, uint immediate)
    {
        Add(opcode);
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(number, immediate);
        Add(number);
    }

    /// <summary>A jump or call that ends with a distance of 32 bits.</summary>
    public void Jump(ReadOnlySpan<byte> opcode, int label)
    {
        Add(opcode, 0);
        _jumps.Add((_bytes.Count - 4, label));
    }

    public byte[] Build()
    {
        byte[] code = [.. _bytes];
        foreach ((int at, int label) in _jumps)
        {
            BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(at), _labels[label] - (at + 4));
        }

        return code;
    }
}
