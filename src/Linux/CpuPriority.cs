namespace FastPathSync.Linux;

/// <summary>More weight than what is ordinary has. Without CAP_SYS_NICE nothing changes: it is a help, no condition.</summary>
public static class CpuPriority
{
    /// <summary>The calling thread, before others of its session (and where sessions are no groups, before all ordinary ones).</summary>
    public static void RaiseThread(int niceness) => _ = Libc.setpriority(Libc.PRIO_PROCESS, 0, niceness);

    /// <summary>The session as a whole: where sessions are scheduled as groups (CONFIG_SCHED_AUTOGROUP), a thread's niceness counts inside of its group only.</summary>
    public static void RaiseSession(int niceness)
    {
        try
        {
            File.WriteAllText("/proc/self/autogroup", $"{niceness}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // No autogroups, or not allowed.
        }
    }
}
