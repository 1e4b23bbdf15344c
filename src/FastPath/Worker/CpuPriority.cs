using FastPathSync.Linux;

namespace FastPathSync.FastPath.Worker;

/// <summary>
/// Ten times the weight of an ordinary process for the calling worker: a machine busy with other things must not keep it
/// off its CPU so long that the heartbeat counts it as hung. Without CAP_SYS_NICE it works, with less certainty.
/// </summary>
internal static class CpuPriority
{
    private const int Niceness = -10;

    public static void Raise()
    {
        _ = Libc.setpriority(Libc.PRIO_PROCESS, 0, Niceness);
        try
        {
            // Where sessions are scheduled as groups (CONFIG_SCHED_AUTOGROUP), niceness counts inside the group only.
            File.WriteAllText("/proc/self/autogroup", $"{Niceness}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // No autogroups, or not allowed.
        }
    }
}
