using System.Diagnostics.CodeAnalysis;
using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.Packets.Filters;

/// <summary>A classic BPF program that is known to end, to stay within itself, and to read no memory that it hasn't written.</summary>
/// <remarks>
/// The law is bpf_check_classic (net/core/filter.c), from which two things differ. What can't be answered outside of the kernel is
/// refused as "not supported": random numbers, netlink attributes, the payload's offset. And the kernel refuses programs whose jumps
/// grow beyond 32767 of its own instructions; here they are none.
/// </remarks>
public sealed class FilterProgram
{
    private readonly FilterInstruction[] _instructions;

    private FilterProgram(FilterInstruction[] instructions, FilterStep[] steps)
    {
        _instructions = instructions;
        Steps = steps;
    }

    public ReadOnlySpan<FilterInstruction> Instructions => _instructions;

    internal FilterStep[] Steps { get; }

    /// <param name="error">Names the first instruction that is wrong, counted from 0 as tcpdump does.</param>
    public static bool TryCreate(
        ReadOnlySpan<FilterInstruction> instructions, [NotNullWhen(true)] out FilterProgram? program, [NotNullWhen(false)] out string? error)
    {
        error = Check(instructions, out FilterStep[] steps);
        if (error is not null)
        {
            program = null;
            return false;
        }

        program = new FilterProgram([.. instructions], steps);
        return true;
    }

    private static string? Check(ReadOnlySpan<FilterInstruction> instructions, out FilterStep[] steps)
    {
        steps = [];
        if (instructions.Length is 0 or > BPF_MAXINSNS)
        {
            return $"{instructions.Length} instructions, not 1 to {BPF_MAXINSNS}";
        }

        steps = new FilterStep[instructions.Length];
        for (int i = 0; i < steps.Length; i++)
        {
            if (Check(instructions[i], remaining: steps.Length - i - 1, out steps[i]) is string mistake)
            {
                return Name(i, mistake);
            }
        }

        return CheckEnd(steps) ?? CheckMemory(steps);
    }

    private static string Name(int index, string mistake) => $"instruction {index}: {mistake}";

    private static string? Check(FilterInstruction i, int remaining, out FilterStep step)
    {
        step = new FilterStep(FilterOperations.Of(i.Code), i.JumpTrue, i.JumpFalse, i.K);
        switch (step.Operation)
        {
            case FilterOperation.Unknown:
                return $"unknown code 0x{i.Code:x2}";
            case FilterOperation.DivideK or FilterOperation.ModuloK when i.K == 0:
                return "division by 0";
            case FilterOperation.ShiftLeftK or FilterOperation.ShiftRightK when i.K >= 32:
                return $"shift by {i.K}";
            case FilterOperation.LoadMemory or FilterOperation.LoadXMemory or FilterOperation.Store or FilterOperation.StoreX when i.K >= BPF_MEMWORDS:
                return $"memory word {i.K} of {BPF_MEMWORDS}";
            case FilterOperation.Jump when i.K >= remaining:
                return $"jump over {i.K} instructions, of {remaining}";
            case FilterOperation when FilterOperations.IsConditionalJump(step.Operation) && Math.Max(i.JumpTrue, i.JumpFalse) >= remaining:
                return $"jump over {Math.Max(i.JumpTrue, i.JumpFalse)} instructions, of {remaining}";
            case FilterOperation.LoadWord or FilterOperation.LoadHalf or FilterOperation.LoadByte when (int)i.K is >= SKF_AD_OFF and < 0:
                return CheckAncillary((int)i.K - SKF_AD_OFF, ref step);
            default:
                return null;
        }
    }

    /// <summary>The kernel gives the whole value, whatever size the load is of.</summary>
    private static string? CheckAncillary(int ancillary, ref FilterStep step)
    {
        byte? field = ancillary switch
        {
            SKF_AD_PROTOCOL => PacketContext.AtProtocol,
            SKF_AD_PKTTYPE => PacketContext.AtPacketType,
            SKF_AD_IFINDEX => PacketContext.AtIfIndex,
            SKF_AD_HATYPE => PacketContext.AtHardwareType,
            SKF_AD_MARK => PacketContext.AtMark,
            SKF_AD_QUEUE => PacketContext.AtQueueMapping,
            SKF_AD_CPU => PacketContext.AtCpu,
            SKF_AD_RXHASH => PacketContext.AtRxHash,
            _ => null,
        };
        if (field is byte at)
        {
            step = new FilterStep(FilterOperation.LoadContext, 0, 0, at);
            return null;
        }

        switch (ancillary)
        {
            case SKF_AD_VLAN_TAG or SKF_AD_VLAN_TAG_PRESENT or SKF_AD_VLAN_TPID:
                step = new FilterStep(FilterOperation.LoadImmediate, 0, 0, 0);
                return null;
            case SKF_AD_ALU_XOR_X:
                step = new FilterStep(FilterOperation.XorX, 0, 0, 0);
                return null;
            case SKF_AD_RANDOM:
                return "not supported: a random number (SKF_AD_RANDOM)";
            case SKF_AD_NLATTR or SKF_AD_NLATTR_NEST:
                return "not supported: netlink attributes (SKF_AD_NLATTR)";
            case SKF_AD_PAY_OFFSET:
                return "not supported: the offset of the payload (SKF_AD_PAY_OFFSET)";
            default:
                return $"unknown ancillary offset {ancillary}";
        }
    }

    private static string? CheckEnd(FilterStep[] steps) =>
        steps[^1].Operation is FilterOperation.ReturnK or FilterOperation.ReturnA ? null : Name(steps.Length - 1, "the last one, but no return");

    /// <summary>
    /// check_load_and_stores: jumps lead forward only, so one pass knows, at each instruction, which words were written on every way there.
    /// As in the kernel, what follows a return counts as reached from it.
    /// </summary>
    private static string? CheckMemory(FilterStep[] steps)
    {
        ushort[] writtenAt = new ushort[steps.Length];
        Array.Fill(writtenAt, ushort.MaxValue);
        ushort written = 0;
        for (int i = 0; i < steps.Length; i++)
        {
            FilterStep s = steps[i];
            written &= writtenAt[i];
            switch (s.Operation)
            {
                case FilterOperation.Store or FilterOperation.StoreX:
                    written |= (ushort)(1 << (int)s.K);
                    break;
                case FilterOperation.LoadMemory or FilterOperation.LoadXMemory when (written & (1 << (int)s.K)) == 0:
                    return Name(i, $"memory word {s.K} is read before it is written");
                case FilterOperation.Jump:
                    writtenAt[i + 1 + (int)s.K] &= written;
                    written = ushort.MaxValue;
                    break;
                case FilterOperation when FilterOperations.IsConditionalJump(s.Operation):
                    writtenAt[i + 1 + s.JumpTrue] &= written;
                    writtenAt[i + 1 + s.JumpFalse] &= written;
                    written = ushort.MaxValue;
                    break;
                default:
                    break;
            }
        }

        return null;
    }
}
