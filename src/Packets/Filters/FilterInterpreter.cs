using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.Packets.Filters;

/// <summary>Runs a filter as the kernel does (bpf_convert_filter, net/core/filter.c). Where <see cref="FilterEmitter"/>'s code can't be run, and its judge.</summary>
public static unsafe class FilterInterpreter
{
    /// <returns>How many bytes of the packet the socket gets, at most. 0: none, the packet doesn't match.</returns>
    [SkipLocalsInit]
    public static uint Run(FilterProgram program, PacketContext* packet)
    {
        Unsafe.SkipInit(out Memory memory); // no word is read before it is written: FilterProgram has seen to it
        uint a = 0, x = 0;
        byte* at;
        ref FilterStep step = ref MemoryMarshal.GetArrayDataReference(program.Steps);
        for (; ; step = ref Unsafe.Add(ref step, 1))
        {
            uint k = step.K;
            switch (step.Operation)
            {
                case FilterOperation.LoadWord:
                    if (!TryLocate(packet, k, 4, out at))
                    {
                        return 0;
                    }

                    a = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<uint>(at));
                    break;
                case FilterOperation.LoadHalf:
                    if (!TryLocate(packet, k, 2, out at))
                    {
                        return 0;
                    }

                    a = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ushort>(at));
                    break;
                case FilterOperation.LoadByte:
                    if (!TryLocate(packet, k, 1, out at))
                    {
                        return 0;
                    }

                    a = *at;
                    break;
                case FilterOperation.LoadWordIndirect:
                    if (!TryLocate(packet, x + k, 4, out at))
                    {
                        return 0;
                    }

                    a = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<uint>(at));
                    break;
                case FilterOperation.LoadHalfIndirect:
                    if (!TryLocate(packet, x + k, 2, out at))
                    {
                        return 0;
                    }

                    a = BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ushort>(at));
                    break;
                case FilterOperation.LoadByteIndirect:
                    if (!TryLocate(packet, x + k, 1, out at))
                    {
                        return 0;
                    }

                    a = *at;
                    break;
                case FilterOperation.LoadXHeaderLength:
                    if (!TryLocate(packet, k, 1, out at))
                    {
                        return 0;
                    }

                    x = (*at & 15u) * 4;
                    break;
                case FilterOperation.LoadImmediate:
                    a = k;
                    break;
                case FilterOperation.LoadMemory:
                    a = memory[(int)k];
                    break;
                case FilterOperation.LoadLength:
                    a = packet->Length;
                    break;
                case FilterOperation.LoadContext:
                    a = *(uint*)((byte*)packet + k);
                    break;
                case FilterOperation.LoadXImmediate:
                    x = k;
                    break;
                case FilterOperation.LoadXMemory:
                    x = memory[(int)k];
                    break;
                case FilterOperation.LoadXLength:
                    x = packet->Length;
                    break;
                case FilterOperation.Store:
                    memory[(int)k] = a;
                    break;
                case FilterOperation.StoreX:
                    memory[(int)k] = x;
                    break;
                case FilterOperation.AddK:
                    a += k;
                    break;
                case FilterOperation.AddX:
                    a += x;
                    break;
                case FilterOperation.SubtractK:
                    a -= k;
                    break;
                case FilterOperation.SubtractX:
                    a -= x;
                    break;
                case FilterOperation.MultiplyK:
                    a *= k;
                    break;
                case FilterOperation.MultiplyX:
                    a *= x;
                    break;
                case FilterOperation.DivideK:
                    a /= k;
                    break;
                case FilterOperation.DivideX:
                    if (x == 0)
                    {
                        return 0;
                    }

                    a /= x;
                    break;
                case FilterOperation.ModuloK:
                    a %= k;
                    break;
                case FilterOperation.ModuloX:
                    if (x == 0)
                    {
                        return 0;
                    }

                    a %= x;
                    break;
                case FilterOperation.AndK:
                    a &= k;
                    break;
                case FilterOperation.AndX:
                    a &= x;
                    break;
                case FilterOperation.OrK:
                    a |= k;
                    break;
                case FilterOperation.OrX:
                    a |= x;
                    break;
                case FilterOperation.XorK:
                    a ^= k;
                    break;
                case FilterOperation.XorX:
                    a ^= x;
                    break;
                case FilterOperation.ShiftLeftK:
                    a <<= (int)k;
                    break;
                case FilterOperation.ShiftLeftX: // by X mod 32: C#, the kernel and x86 agree
                    a <<= (int)x;
                    break;
                case FilterOperation.ShiftRightK:
                    a >>= (int)k;
                    break;
                case FilterOperation.ShiftRightX:
                    a >>= (int)x;
                    break;
                case FilterOperation.Negate:
                    a = 0 - a;
                    break;
                case FilterOperation.Jump:
                    step = ref Unsafe.Add(ref step, k);
                    break;
                case FilterOperation.JumpEqualK:
                    step = ref Unsafe.Add(ref step, (uint)(a == k ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpEqualX:
                    step = ref Unsafe.Add(ref step, (uint)(a == x ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpGreaterK:
                    step = ref Unsafe.Add(ref step, (uint)(a > k ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpGreaterX:
                    step = ref Unsafe.Add(ref step, (uint)(a > x ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpGreaterOrEqualK:
                    step = ref Unsafe.Add(ref step, (uint)(a >= k ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpGreaterOrEqualX:
                    step = ref Unsafe.Add(ref step, (uint)(a >= x ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpSetK:
                    step = ref Unsafe.Add(ref step, (uint)((a & k) != 0 ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.JumpSetX:
                    step = ref Unsafe.Add(ref step, (uint)((a & x) != 0 ? step.JumpTrue : step.JumpFalse));
                    break;
                case FilterOperation.ReturnK:
                    return k;
                case FilterOperation.ReturnA:
                    return a;
                case FilterOperation.TransferAToX:
                    x = a;
                    break;
                case FilterOperation.TransferXToA:
                    a = x;
                    break;
                case FilterOperation.Unknown:
                default:
                    throw new UnreachableException("FilterProgram lets no other operation in");
            }
        }
    }

    /// <param name="offset">Already modulo 2^32: the kernel adds X and K in 64 bits, and its helpers take an int.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryLocate(PacketContext* packet, uint offset, uint size, out byte* at)
    {
        at = packet->Data + offset;
        return (ulong)offset + size <= packet->Length || TryLocateByHeader(packet, (int)offset, size, out at);
    }

    /// <summary>bpf_skb_load_helper_convert_offset: offsets that count from a header.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryLocateByHeader(PacketContext* packet, int offset, uint size, out byte* at)
    {
        long position = offset switch
        {
            >= 0 or < SKF_LL_OFF => packet->Length,
            >= SKF_NET_OFF => (long)packet->NetworkOffset + (offset - SKF_NET_OFF),
            _ => (long)packet->LinkLayerOffset + (offset - SKF_LL_OFF),
        };
        at = packet->Data + position;
        return position + size <= packet->Length;
    }

    [InlineArray(BPF_MEMWORDS)]
    private struct Memory
    {
        private uint _first;
    }
}
