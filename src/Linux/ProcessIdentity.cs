namespace FastPathSync.Linux;

/// <summary>A process named so that a later one with the same pid is not mistaken for it: pid and start time.</summary>
/// <param name="StartTime">Field 22 of /proc/PID/stat: clock ticks since boot.</param>
public readonly record struct ProcessIdentity(int Pid, ulong StartTime)
{
    /// <summary>The process with this pid, or null when there is none or it is only a zombie.</summary>
    public static ProcessIdentity? Of(int pid) =>
        TryStat(pid, out char state, out ulong start) && state is not ('Z' or 'X') ? new ProcessIdentity(pid, start) : null;

    public bool IsAlive => Of(Pid) == this;

    /// <summary>Stopped by SIGSTOP (state T): it holds its memory and sockets and does nothing.</summary>
    public bool IsStopped => TryStat(Pid, out char state, out ulong start) && start == StartTime && state is 'T' or 't';

    /// <summary>Sends a signal if the process is still this one.</summary>
    public bool TrySignal(int signal) => IsAlive && Libc.kill(Pid, signal) == 0;

    private static bool TryStat(int pid, out char state, out ulong start)
    {
        state = default;
        start = 0;
        string text;
        try
        {
            text = File.ReadAllText($"/proc/{pid}/stat");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }

        // The command (field 2) stands in parentheses and may itself hold blanks and parentheses.
        int end = text.LastIndexOf(')');
        string[] fields = end < 0 ? [] : text[(end + 2)..].Split(' ');
        if (fields.Length < 20)
        {
            return false;
        }

        state = fields[0][0];
        return ulong.TryParse(fields[19], out start);
    }
}
