using FastPathSync.Packets.Filters;
using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.FastPath.Tests.Filters;

/// <summary>What random filters may ask for, beside the bytes of the packet and themselves.</summary>
[Flags]
internal enum FilterReach
{
    PacketOnly = 0,
    Headers = 1,
    Device = 2,
    CpuAndHash = 4,
    All = Headers | Device | CpuAndHash,
}

/// <summary>Filters that are valid by construction, use every operation, and mostly stay within short packets, so that they come to their end.</summary>
internal sealed class RandomFilters(int seed, FilterReach reach)
{
    private static readonly ushort[] s_loads =
    [
        BPF_LD | BPF_W | BPF_ABS, BPF_LD | BPF_H | BPF_ABS, BPF_LD | BPF_B | BPF_ABS, BPF_LDX | BPF_B | BPF_MSH,
    ];

    private static readonly ushort[] s_indirectLoads = [BPF_LD | BPF_W | BPF_IND, BPF_LD | BPF_H | BPF_IND, BPF_LD | BPF_B | BPF_IND];

    private static readonly ushort[] s_alu =
    [
        BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR,
    ];

    private static readonly ushort[] s_jumps = [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET];

    private static readonly ushort[] s_others =
    [
        BPF_LD | BPF_IMM, BPF_LD | BPF_W | BPF_LEN, BPF_LDX | BPF_IMM, BPF_LDX | BPF_W | BPF_LEN, BPF_ALU | BPF_NEG, BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA,
    ];

    private static readonly int[] s_device =
    [
        SKF_AD_PROTOCOL, SKF_AD_PKTTYPE, SKF_AD_IFINDEX, SKF_AD_MARK, SKF_AD_QUEUE, SKF_AD_HATYPE, SKF_AD_ALU_XOR_X, SKF_AD_VLAN_TAG,
        SKF_AD_VLAN_TAG_PRESENT, SKF_AD_VLAN_TPID,
    ];

    private static readonly int[] s_cpuAndHash = [SKF_AD_CPU, SKF_AD_RXHASH];

    private static readonly uint[] s_edges = [0, 1, 2, 31, 32, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

    private readonly Random _random = new(seed);
    private int _stored;

    public FilterInstruction[] Next(int length)
    {
        FilterInstruction[] program = new FilterInstruction[length];
        _stored = Math.Min(_random.Next(4), length / 4);
        int i = 0;
        for (; i < _stored; i++)
        {
            program[i] = new((ushort)(_random.Next(2) == 0 ? BPF_ST : BPF_STX), 0, 0, (uint)i);
        }

        while (i < length - 1)
        {
            int room = length - 2 - i; // instructions that can be jumped over
            if (_random.Next(5) == 0 && room > 0)
            {
                (program[i], program[i + 1]) = Indirect();
                i += 2;
            }
            else
            {
                program[i++] = Any(room, length);
            }
        }

        program[i] = Return();
        return program;
    }

    private FilterInstruction Any(int room, int length)
    {
        switch (_random.Next(12))
        {
            case 0 or 1:
                return new(s_loads[_random.Next(s_loads.Length)], 0, 0, Offset());
            case 2:
                return new(s_others[_random.Next(s_others.Length)], 0, 0, Number());
            case 3:
                return Ancillary() is int ancillary
                    ? new((ushort)(BPF_LD | (_random.Next(3) * BPF_H) | BPF_ABS), 0, 0, unchecked((uint)(SKF_AD_OFF + ancillary)))
                    : new(BPF_LD | BPF_IMM, 0, 0, Number());
            case 4 when _stored > 0:
                return new((ushort)(_random.Next(2) | BPF_MEM), 0, 0, (uint)_random.Next(_stored));
            case 5 when _stored > 0:
                return new((ushort)(BPF_ST + _random.Next(2)), 0, 0, (uint)_random.Next(BPF_MEMWORDS));
            case 6 or 7 or 8:
                return new((ushort)(BPF_JMP | s_jumps[_random.Next(s_jumps.Length)] | (_random.Next(2) * BPF_X)), Skip(room), Skip(room), Number());
            case 9 when _random.Next(4) == 0:
                return new(BPF_JMP | BPF_JA, 0, 0, (uint)Skip(room));
            case 9 when _random.Next(length) == 0:
                return Return();
            default:
                return Alu();
        }
    }

    private (FilterInstruction, FilterInstruction) Indirect()
    {
        uint k = Offset(), x = (uint)_random.Next(30);
        return (new(BPF_LDX | BPF_IMM, 0, 0, x), new(s_indirectLoads[_random.Next(s_indirectLoads.Length)], 0, 0, _random.Next(2) == 0 ? k - x : k));
    }

    private FilterInstruction Alu()
    {
        ushort operation = s_alu[_random.Next(s_alu.Length)];
        bool byX = _random.Next(3) == 0;
        uint k = operation switch
        {
            BPF_DIV or BPF_MOD => Math.Max(1, Number()),
            BPF_LSH or BPF_RSH => (uint)_random.Next(32),
            _ => Number(),
        };
        return new((ushort)(BPF_ALU | operation | (byX ? BPF_X : BPF_K)), 0, 0, k);
    }

    private FilterInstruction Return() => _random.Next(3) == 0 ? new(BPF_RET | BPF_K, 0, 0, (uint)_random.Next(200)) : new(BPF_RET | BPF_A, 0, 0, 0);

    private int? Ancillary()
    {
        int[] known = [.. reach.HasFlag(FilterReach.Device) ? s_device : [], .. reach.HasFlag(FilterReach.CpuAndHash) ? s_cpuAndHash : []];
        return known.Length == 0 ? null : known[_random.Next(known.Length)];
    }

    private uint Offset()
    {
        uint small = (uint)_random.Next(_random.Next(8) == 0 ? 120 : 40);
        return _random.Next(10) switch
        {
            0 when reach.HasFlag(FilterReach.Headers) => unchecked((uint)SKF_NET_OFF) + small,
            1 when reach.HasFlag(FilterReach.Headers) => unchecked((uint)SKF_LL_OFF) + small,
            2 when reach.HasFlag(FilterReach.Headers) && _random.Next(10) == 0 => unchecked((uint)SKF_LL_OFF) - 1 - small,
            3 when _random.Next(20) == 0 => (uint)_random.NextInt64(0x80000000),
            _ => small,
        };
    }

    private uint Number() => _random.Next(3) switch
    {
        0 => s_edges[_random.Next(s_edges.Length)],
        1 => (uint)_random.Next(256),
        _ => (uint)_random.NextInt64(1L << 32),
    };

    /// <summary>Half of them none, some of them as far as a conditional jump can.</summary>
    private byte Skip(int room) => (byte)_random.Next(Math.Min(256, 1 + (_random.Next(6) switch { 0 or 1 or 2 => 0, 3 => room, _ => Math.Min(room, 4) })));
}
