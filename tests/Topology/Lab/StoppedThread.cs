using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>
/// One thread of a process held in its place, as a debugger does it, while the others go on; a signal would stop them all.
/// To be disposed of by the thread that made it (ptrace(2)).
/// </summary>
public sealed partial class StoppedThread : IDisposable
{
    private const int PTRACE_DETACH = 17, PTRACE_SEIZE = 0x4206, PTRACE_INTERRUPT = 0x4207; // linux/ptrace.h
    private const int WALL = 0x40000000; // __WALL: also threads that aren't leaders
    private readonly int _tid;

    public StoppedThread(int tid)
    {
        _tid = tid;
        LinuxException.ThrowIfNegative((int)ptrace(PTRACE_SEIZE, tid, 0, 0), "ptrace(SEIZE)", $"thread {tid}");
        LinuxException.ThrowIfNegative((int)ptrace(PTRACE_INTERRUPT, tid, 0, 0), "ptrace(INTERRUPT)", $"thread {tid}");
        LinuxException.ThrowIfNegative(waitpid(tid, out _, WALL), "waitpid", $"thread {tid}");
    }

    public void Dispose() => _ = ptrace(PTRACE_DETACH, _tid, 0, 0);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint ptrace(nint request, int tid, nint address, nint data);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitpid(int pid, out int status, int options);
}
