namespace FastPathSync.Linux;

/// <summary>More or less weight than what is ordinary has. Without CAP_SYS_NICE more is not to be had: it is a help, no condition.</summary>
public static class CpuPriority
{
    /// <summary>The calling thread, among others of its session (and where sessions are no groups, among all).</summary>
    public static void SetThread(int niceness) => _ = Libc.setpriority(Libc.PRIO_PROCESS, 0, niceness);

    /// <summary>The session as a whole: where sessions are scheduled as groups (CONFIG_SCHED_AUTOGROUP), a thread's niceness counts inside of its group only.</summary>
    public static void SetSession(int niceness)
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
