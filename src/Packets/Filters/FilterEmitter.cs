using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.Packets.Filters;

/// <summary>
/// Translates a filter into x86-64 machine code: a function uint(PacketContext*) of the System V ABI, position independent.
/// </summary>
/// <remarks>
/// Only registers that the caller doesn't expect back:
/// <code>
/// rdi  the PacketContext       eax  A
/// rsi  its length              ecx  X; the upper half of rcx is 0
/// r9   its data                rdx, r8, r10  scratch
/// </code>
/// The memory words lie in the red zone, which signals leave alone, below the return address that the one call needs.
/// </remarks>
public sealed class FilterEmitter
{
    /// <summary>Of the words, from rsp; 8 bytes above them are the call's.</summary>
    private const int Memory = -8 - (BPF_MEMWORDS * sizeof(uint));

    private const byte IfBelow = 0x82, IfAboveOrEqual = 0x83, IfZero = 0x84, IfNotZero = 0x85, IfBelowOrEqual = 0x86, IfAbove = 0x87, IfGreater = 0x8f;

    private readonly MachineCode _code = new();
    private readonly List<(int From, int Back, uint Size)> _detours = [];
    private readonly int[] _steps;
    private readonly int _noMatch, _locate;

    private FilterEmitter(int steps)
    {
        _steps = [.. Enumerable.Range(0, steps).Select(_ => _code.NewLabel())];
        _noMatch = _code.NewLabel();
        _locate = _code.NewLabel();
    }

    /// <summary>Null when the program holds an operation that isn't known here.</summary>
    public static byte[]? TryEmit(FilterProgram program)
    {
        FilterStep[] steps = program.Steps;
        FilterEmitter emitter = new(steps.Length);
        emitter.EmitEntry();
        for (int i = 0; i < steps.Length; i++)
        {
            emitter._code.Mark(emitter._steps[i]);
            if (!emitter.TryEmit(i, steps[i]))
            {
                return null;
            }
        }

        emitter.EmitEnd();
        return emitter._code.Build();
    }

    private void EmitEntry()
    {
        _code.Add(0x4c, 0x8b, 0x4f, PacketContext.AtData); // mov r9, [rdi + Data]
        _code.Add(0x8b, 0x77, PacketContext.AtLength); // mov esi, [rdi + Length]
        _code.Add(0x31, 0xc0); // xor eax, eax
        _code.Add(0x31, 0xc9); // xor ecx, ecx
    }

    private bool TryEmit(int index, FilterStep s)
    {
        uint k = s.K;
        byte word = unchecked((byte)(Memory + ((int)k * sizeof(uint))));
        switch (s.Operation)
        {
            case FilterOperation.LoadWord:
                Load(k, 4);
                break;
            case FilterOperation.LoadHalf:
                Load(k, 2);
                break;
            case FilterOperation.LoadByte:
                Load(k, 1);
                break;
            case FilterOperation.LoadWordIndirect:
                LoadIndirect(k, 4);
                break;
            case FilterOperation.LoadHalfIndirect:
                LoadIndirect(k, 2);
                break;
            case FilterOperation.LoadByteIndirect:
                LoadIndirect(k, 1);
                break;
            case FilterOperation.LoadXHeaderLength:
                Load(k, 1, toX: true);
                _code.Add(0x83, 0xe1, 0x0f); // and ecx, 15
                _code.Add(0xc1, 0xe1, 0x02); // shl ecx, 2
                break;
            case FilterOperation.LoadImmediate:
                _code.Add([0xb8], k); // mov eax, k
                break;
            case FilterOperation.LoadMemory:
                _code.Add(0x8b, 0x44, 0x24, word); // mov eax, [rsp + word]
                break;
            case FilterOperation.LoadLength:
                _code.Add(0x89, 0xf0); // mov eax, esi
                break;
            case FilterOperation.LoadContext:
                _code.Add(0x8b, 0x47, (byte)k); // mov eax, [rdi + k]
                break;
            case FilterOperation.LoadXImmediate:
                _code.Add([0xb9], k); // mov ecx, k
                break;
            case FilterOperation.LoadXMemory:
                _code.Add(0x8b, 0x4c, 0x24, word); // mov ecx, [rsp + word]
                break;
            case FilterOperation.LoadXLength:
                _code.Add(0x89, 0xf1); // mov ecx, esi
                break;
            case FilterOperation.Store:
                _code.Add(0x89, 0x44, 0x24, word); // mov [rsp + word], eax
                break;
            case FilterOperation.StoreX:
                _code.Add(0x89, 0x4c, 0x24, word); // mov [rsp + word], ecx
                break;
            case FilterOperation.AddK:
                _code.Add([0x05], k); // add eax, k
                break;
            case FilterOperation.AddX:
                _code.Add(0x01, 0xc8); // add eax, ecx
                break;
            case FilterOperation.SubtractK:
                _code.Add([0x2d], k); // sub eax, k
                break;
            case FilterOperation.SubtractX:
                _code.Add(0x29, 0xc8); // sub eax, ecx
                break;
            case FilterOperation.MultiplyK:
                _code.Add([0x69, 0xc0], k); // imul eax, eax, k
                break;
            case FilterOperation.MultiplyX:
                _code.Add(0x0f, 0xaf, 0xc1); // imul eax, ecx
                break;
            case FilterOperation.DivideK:
                DivideByK(k);
                break;
            case FilterOperation.DivideX:
                DivideByX();
                break;
            case FilterOperation.ModuloK:
                DivideByK(k);
                _code.Add(0x89, 0xd0); // mov eax, edx
                break;
            case FilterOperation.ModuloX:
                DivideByX();
                _code.Add(0x89, 0xd0); // mov eax, edx
                break;
            case FilterOperation.AndK:
                _code.Add([0x25], k); // and eax, k
                break;
            case FilterOperation.AndX:
                _code.Add(0x21, 0xc8); // and eax, ecx
                break;
            case FilterOperation.OrK:
                _code.Add([0x0d], k); // or eax, k
                break;
            case FilterOperation.OrX:
                _code.Add(0x09, 0xc8); // or eax, ecx
                break;
            case FilterOperation.XorK:
                _code.Add([0x35], k); // xor eax, k
                break;
            case FilterOperation.XorX:
                _code.Add(0x31, 0xc8); // xor eax, ecx
                break;
            case FilterOperation.ShiftLeftK:
                _code.Add(0xc1, 0xe0, (byte)k); // shl eax, k
                break;
            case FilterOperation.ShiftLeftX:
                _code.Add(0xd3, 0xe0); // shl eax, cl
                break;
            case FilterOperation.ShiftRightK:
                _code.Add(0xc1, 0xe8, (byte)k); // shr eax, k
                break;
            case FilterOperation.ShiftRightX:
                _code.Add(0xd3, 0xe8); // shr eax, cl
                break;
            case FilterOperation.Negate:
                _code.Add(0xf7, 0xd8); // neg eax
                break;
            case FilterOperation.Jump:
                JumpOver(index, k);
                break;
            case FilterOperation.JumpEqualK:
                _code.Add([0x3d], k); // cmp eax, k
                Branch(index, s, IfZero, IfNotZero);
                break;
            case FilterOperation.JumpEqualX:
                _code.Add(0x39, 0xc8); // cmp eax, ecx
                Branch(index, s, IfZero, IfNotZero);
                break;
            case FilterOperation.JumpGreaterK:
                _code.Add([0x3d], k); // cmp eax, k
                Branch(index, s, IfAbove, IfBelowOrEqual);
                break;
            case FilterOperation.JumpGreaterX:
                _code.Add(0x39, 0xc8); // cmp eax, ecx
                Branch(index, s, IfAbove, IfBelowOrEqual);
                break;
            case FilterOperation.JumpGreaterOrEqualK:
                _code.Add([0x3d], k); // cmp eax, k
                Branch(index, s, IfAboveOrEqual, IfBelow);
                break;
            case FilterOperation.JumpGreaterOrEqualX:
                _code.Add(0x39, 0xc8); // cmp eax, ecx
                Branch(index, s, IfAboveOrEqual, IfBelow);
                break;
            case FilterOperation.JumpSetK:
                _code.Add([0xa9], k); // test eax, k
                Branch(index, s, IfNotZero, IfZero);
                break;
            case FilterOperation.JumpSetX:
                _code.Add(0x85, 0xc8); // test eax, ecx
                Branch(index, s, IfNotZero, IfZero);
                break;
            case FilterOperation.ReturnK:
                _code.Add([0xb8], k); // mov eax, k
                _code.Add(0xc3); // ret
                break;
            case FilterOperation.ReturnA:
                _code.Add(0xc3); // ret
                break;
            case FilterOperation.TransferAToX:
                _code.Add(0x89, 0xc1); // mov ecx, eax
                break;
            case FilterOperation.TransferXToA:
                _code.Add(0x89, 0xc8); // mov eax, ecx
                break;
            case FilterOperation.Unknown:
            default:
                return false;
        }

        return true;
    }

    /// <summary>What lies off the way: the end of packets that don't match, and loads that don't count from Data.</summary>
    private void EmitEnd()
    {
        _code.Mark(_noMatch);
        _code.Add(0x31, 0xc0); // xor eax, eax
        _code.Add(0xc3); // ret
        foreach ((int from, int back, uint size) in _detours)
        {
            _code.Mark(from);
            CallLocate(size);
            _code.Jump([0xe9], back); // jmp
        }

        EmitLocate();
    }

    private void Load(uint k, byte size, bool toX = false)
    {
        if ((int)k < 0)
        {
            _code.Add([0xba], k); // mov edx, k
            CallLocate(size);
            Fetch(size, toX, atRdx: true, 0);
            return;
        }

        _code.Add([0x81, 0xfe], k + size); // cmp esi, k + size
        _code.Jump([0x0f, IfBelow], _noMatch);
        Fetch(size, toX, atRdx: false, k);
    }

    private void LoadIndirect(uint k, byte size)
    {
        int from = _code.NewLabel(), back = _code.NewLabel();
        _detours.Add((from, back, size));
        _code.Add([0x8d, 0x91], k); // lea edx, [rcx + k]: modulo 2^32
        _code.Add(0x4c, 0x8d, 0x42, size); // lea r8, [rdx + size]
        _code.Add(0x49, 0x39, 0xf0); // cmp r8, rsi
        _code.Jump([0x0f, IfAbove], from);
        _code.Mark(back);
        Fetch(size, toX: false, atRdx: true, 0);
    }

    /// <summary>From [r9 + rdx], or from [r9 + k], in host order.</summary>
    private void Fetch(byte size, bool toX, bool atRdx, uint k)
    {
        _code.Add(size switch
        {
            4 => [0x41, 0x8b], // mov r32, m32
            2 => [0x41, 0x0f, 0xb7], // movzx r32, m16
            _ => [0x41, 0x0f, 0xb6], // movzx r32, m8
        });
        byte register = (byte)(toX ? 0x08 : 0x00); // ecx or eax, in the place of ModRM.reg
        if (atRdx)
        {
            _code.Add((byte)(0x04 | register), 0x11); // [r9 + rdx]
        }
        else
        {
            _code.Add([(byte)(0x81 | register)], k); // [r9 + disp32]
        }

        if (size == 4)
        {
            _code.Add(0x0f, 0xc8); // bswap eax
        }
        else if (size == 2)
        {
            _code.Add(0x66, 0xc1, 0xc0, 0x08); // rol ax, 8
        }
    }

    private void CallLocate(uint size)
    {
        _code.Add([0x41, 0xb8], size); // mov r8d, size
        _code.Jump([0xe8], _locate); // call
        _code.Jump([0x0f, IfGreater], _noMatch);
    }

    /// <summary>
    /// edx, an offset beyond the packet or from a header, becomes rdx, from Data; r8 is the size. Returns with the flags of a comparison:
    /// greater means beyond the packet.
    /// </summary>
    private void EmitLocate()
    {
        int network = _code.NewLabel(), refused = _code.NewLabel(), compare = _code.NewLabel();
        _code.Mark(_locate);
        _code.Add([0x81, 0xfa], unchecked((uint)SKF_NET_OFF)); // cmp edx, SKF_NET_OFF
        _code.Jump([0x0f, IfAboveOrEqual], network);
        _code.Add([0x81, 0xea], unchecked((uint)SKF_LL_OFF)); // sub edx, SKF_LL_OFF
        _code.Jump([0x0f, IfBelow], refused); // it was less: no header's
        _code.Add(0x4c, 0x63, 0x57, PacketContext.AtLinkLayerOffset); // movsxd r10, [rdi + LinkLayerOffset]
        _code.Jump([0xe9], compare);
        _code.Mark(network);
        _code.Add([0x81, 0xea], unchecked((uint)SKF_NET_OFF)); // sub edx, SKF_NET_OFF
        _code.Add(0x4c, 0x63, 0x57, PacketContext.AtNetworkOffset); // movsxd r10, [rdi + NetworkOffset]
        _code.Mark(compare);
        _code.Add(0x4c, 0x01, 0xd2); // add rdx, r10
        _code.Add(0x49, 0x01, 0xd0); // add r8, rdx
        _code.Add(0x49, 0x39, 0xf0); // cmp r8, rsi
        _code.Add(0xc3); // ret
        _code.Mark(refused);
        _code.Add(0x48, 0x83, 0xfe, 0xff); // cmp rsi, -1: always greater
        _code.Add(0xc3); // ret
    }

    private void DivideByK(uint k)
    {
        _code.Add([0x41, 0xb8], k); // mov r8d, k
        _code.Add(0x31, 0xd2); // xor edx, edx
        _code.Add(0x41, 0xf7, 0xf0); // div r8d
    }

    private void DivideByX()
    {
        _code.Add(0x85, 0xc9); // test ecx, ecx
        _code.Jump([0x0f, IfZero], _noMatch);
        _code.Add(0x31, 0xd2); // xor edx, edx
        _code.Add(0xf7, 0xf1); // div ecx
    }

    /// <summary>After a comparison. Nothing is jumped over where the way is the next instruction's.</summary>
    private void Branch(int index, FilterStep s, byte ifTrue, byte ifFalse)
    {
        if (s.JumpTrue == 0 && s.JumpFalse != 0)
        {
            _code.Jump([0x0f, ifFalse], _steps[index + 1 + s.JumpFalse]);
            return;
        }

        if (s.JumpTrue != 0)
        {
            _code.Jump([0x0f, ifTrue], _steps[index + 1 + s.JumpTrue]);
        }

        JumpOver(index, s.JumpFalse);
    }

    private void JumpOver(int index, uint count)
    {
        if (count > 0)
        {
            _code.Jump([0xe9], _steps[index + 1 + (int)count]);
        }
    }
}
