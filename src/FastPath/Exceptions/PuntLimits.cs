using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>Writes the settings of the token buckets, which workers read as they are.</summary>
internal static unsafe class PuntLimits
{
    /// <summary>A window that is over: the bucket is full, however long the machine has been up.</summary>
    private const long LongAgo = long.MinValue / 2;

    /// <summary>The defaults, and what somebody wants otherwise.</summary>
    public static void SetAll(PuntLimit* limits, IEnumerable<PuntLimitOption> chosen)
    {
        foreach (PuntLimitOption o in chosen.Prepend(new PuntLimitOption(null, null)))
        {
            Set(limits, o);
        }
    }

    /// <summary>The bucket is full then.</summary>
    public static void Set(PuntLimit* limits, PuntLimitOption option)
    {
        PuntReason first = option.Reason ?? 0, last = option.Reason ?? (PuntReason.Count - 1);
        for (PuntReason r = first; r <= last; r++)
        {
            PuntLimit* l = limits + (int)r;
            PuntLimitSetting s = option.Setting ?? PuntLimitSetting.Default(r);
            l->Rate = s.Rate;
            l->Burst = s.Burst;
            l->Chosen = option.Setting is null ? 0u : 1u;

            // A worker that sees the one new and the other old is wrong about one packet.
            Volatile.Write(ref l->Window, s.Window);
            Volatile.Write(ref l->Token, s.Token);
            Volatile.Write(ref l->Start, LongAgo);
        }
    }
}
