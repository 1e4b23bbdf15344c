using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.Packets.Filters;

/// <summary>What an instruction does, without the gaps between the kernel's codes: a switch over it is one jump table.</summary>
internal enum FilterOperation : ushort
{
    Unknown,
    LoadWord, LoadHalf, LoadByte,
    LoadWordIndirect, LoadHalfIndirect, LoadByteIndirect,
    LoadImmediate, LoadMemory, LoadLength, LoadContext,
    LoadXImmediate, LoadXMemory, LoadXLength, LoadXHeaderLength,
    Store, StoreX,
    AddK, AddX, SubtractK, SubtractX, MultiplyK, MultiplyX, DivideK, DivideX, ModuloK, ModuloX,
    AndK, AndX, OrK, OrX, XorK, XorX, ShiftLeftK, ShiftLeftX, ShiftRightK, ShiftRightX, Negate,
    Jump, JumpEqualK, JumpEqualX, JumpGreaterK, JumpGreaterX, JumpGreaterOrEqualK, JumpGreaterOrEqualX, JumpSetK, JumpSetX,
    ReturnK, ReturnA,
    TransferAToX, TransferXToA,
}

/// <summary>An instruction made ready to be run. K of LoadContext is an offset in <see cref="PacketContext"/>.</summary>
internal readonly record struct FilterStep(FilterOperation Operation, byte JumpTrue, byte JumpFalse, uint K);

internal static class FilterOperations
{
    /// <summary>Unknown for all that chk_code_allowed (net/core/filter.c) doesn't know.</summary>
    public static FilterOperation Of(ushort code) => code switch
    {
        BPF_LD | BPF_W | BPF_ABS => FilterOperation.LoadWord,
        BPF_LD | BPF_H | BPF_ABS => FilterOperation.LoadHalf,
        BPF_LD | BPF_B | BPF_ABS => FilterOperation.LoadByte,
        BPF_LD | BPF_W | BPF_IND => FilterOperation.LoadWordIndirect,
        BPF_LD | BPF_H | BPF_IND => FilterOperation.LoadHalfIndirect,
        BPF_LD | BPF_B | BPF_IND => FilterOperation.LoadByteIndirect,
        BPF_LD | BPF_IMM => FilterOperation.LoadImmediate,
        BPF_LD | BPF_MEM => FilterOperation.LoadMemory,
        BPF_LD | BPF_W | BPF_LEN => FilterOperation.LoadLength,
        BPF_LDX | BPF_IMM => FilterOperation.LoadXImmediate,
        BPF_LDX | BPF_MEM => FilterOperation.LoadXMemory,
        BPF_LDX | BPF_W | BPF_LEN => FilterOperation.LoadXLength,
        BPF_LDX | BPF_B | BPF_MSH => FilterOperation.LoadXHeaderLength,
        BPF_ST => FilterOperation.Store,
        BPF_STX => FilterOperation.StoreX,
        BPF_ALU | BPF_ADD | BPF_K => FilterOperation.AddK,
        BPF_ALU | BPF_ADD | BPF_X => FilterOperation.AddX,
        BPF_ALU | BPF_SUB | BPF_K => FilterOperation.SubtractK,
        BPF_ALU | BPF_SUB | BPF_X => FilterOperation.SubtractX,
        BPF_ALU | BPF_MUL | BPF_K => FilterOperation.MultiplyK,
        BPF_ALU | BPF_MUL | BPF_X => FilterOperation.MultiplyX,
        BPF_ALU | BPF_DIV | BPF_K => FilterOperation.DivideK,
        BPF_ALU | BPF_DIV | BPF_X => FilterOperation.DivideX,
        BPF_ALU | BPF_MOD | BPF_K => FilterOperation.ModuloK,
        BPF_ALU | BPF_MOD | BPF_X => FilterOperation.ModuloX,
        BPF_ALU | BPF_AND | BPF_K => FilterOperation.AndK,
        BPF_ALU | BPF_AND | BPF_X => FilterOperation.AndX,
        BPF_ALU | BPF_OR | BPF_K => FilterOperation.OrK,
        BPF_ALU | BPF_OR | BPF_X => FilterOperation.OrX,
        BPF_ALU | BPF_XOR | BPF_K => FilterOperation.XorK,
        BPF_ALU | BPF_XOR | BPF_X => FilterOperation.XorX,
        BPF_ALU | BPF_LSH | BPF_K => FilterOperation.ShiftLeftK,
        BPF_ALU | BPF_LSH | BPF_X => FilterOperation.ShiftLeftX,
        BPF_ALU | BPF_RSH | BPF_K => FilterOperation.ShiftRightK,
        BPF_ALU | BPF_RSH | BPF_X => FilterOperation.ShiftRightX,
        BPF_ALU | BPF_NEG => FilterOperation.Negate,
        BPF_JMP | BPF_JA => FilterOperation.Jump,
        BPF_JMP | BPF_JEQ | BPF_K => FilterOperation.JumpEqualK,
        BPF_JMP | BPF_JEQ | BPF_X => FilterOperation.JumpEqualX,
        BPF_JMP | BPF_JGT | BPF_K => FilterOperation.JumpGreaterK,
        BPF_JMP | BPF_JGT | BPF_X => FilterOperation.JumpGreaterX,
        BPF_JMP | BPF_JGE | BPF_K => FilterOperation.JumpGreaterOrEqualK,
        BPF_JMP | BPF_JGE | BPF_X => FilterOperation.JumpGreaterOrEqualX,
        BPF_JMP | BPF_JSET | BPF_K => FilterOperation.JumpSetK,
        BPF_JMP | BPF_JSET | BPF_X => FilterOperation.JumpSetX,
        BPF_RET | BPF_K => FilterOperation.ReturnK,
        BPF_RET | BPF_A => FilterOperation.ReturnA,
        BPF_MISC | BPF_TAX => FilterOperation.TransferAToX,
        BPF_MISC | BPF_TXA => FilterOperation.TransferXToA,
        _ => FilterOperation.Unknown,
    };

    public static bool IsConditionalJump(FilterOperation operation) => operation is >= FilterOperation.JumpEqualK and <= FilterOperation.JumpSetX;
}
