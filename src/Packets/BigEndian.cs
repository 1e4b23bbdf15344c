using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>Two bytes in network order. Holds what the wire holds; Value is the number meant.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public readonly record struct Be16
{
    private readonly ushort _wire;

    private Be16(ushort wire) => _wire = wire;

    public ushort Value => BinaryPrimitives.ReverseEndianness(_wire);

    /// <summary>The two bytes as this machine loads them: what checksums add up.</summary>
    public ushort Wire => _wire;

    public static Be16 From(int value) => new(BinaryPrimitives.ReverseEndianness((ushort)value));

    public static Be16 FromWire(ushort wire) => new(wire);

    public override string ToString() => $"0x{Value:x4}";
}

/// <summary>Four bytes in network order.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public readonly record struct Be32
{
    private readonly uint _wire;

    private Be32(uint wire) => _wire = wire;

    public uint Value => BinaryPrimitives.ReverseEndianness(_wire);

    public uint Wire => _wire;

    public static Be32 From(uint value) => new(BinaryPrimitives.ReverseEndianness(value));

    public override string ToString() => $"0x{Value:x8}";
}
