using System.Runtime.InteropServices;

namespace FastPathSync.Packets.Filters;

/// <summary>struct sock_filter (linux/filter.h): an instruction as setsockopt takes it, packet_diag shows it and `tcpdump -ddd` prints it.</summary>
/// <param name="Code">Put together from <see cref="FilterCode"/>.</param>
/// <param name="JumpTrue">Instructions to skip when a condition holds.</param>
/// <param name="JumpFalse">Instructions to skip when it doesn't.</param>
/// <param name="K">The operand, in host order.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct FilterInstruction(ushort Code, byte JumpTrue, byte JumpFalse, uint K);
