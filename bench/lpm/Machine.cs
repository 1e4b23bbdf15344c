using FastPathSync.Linux;

namespace FastPathSync.LpmBench;

internal static unsafe class Machine
{
    public static string Kernel => File.ReadAllText("/proc/sys/kernel/osrelease").Trim();

    public static string Cpu
    {
        get
        {
            string[] lines = File.ReadAllLines("/proc/cpuinfo");
            string model = lines.FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown CPU";
            return lines.Any(l => l.StartsWith("flags", StringComparison.Ordinal) && l.Contains(" hypervisor", StringComparison.Ordinal)) ? $"{model} (VM)" : model;
        }
    }

    /// <summary>Nanoseconds of CPU that this thread has had: what else the machine does is not counted.</summary>
    public static double ThreadTime
    {
        get
        {
            const int CLOCK_THREAD_CPUTIME_ID = 3;
            Libc.timespec t;
            _ = Libc.clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
            return (t.tv_sec * 1e9) + t.tv_nsec;
        }
    }

    public static void Pin(int cpu)
    {
        ulong mask = 1ul << cpu;
        LinuxException.ThrowIfNegative(Libc.sched_setaffinity(0, sizeof(ulong), &mask), "sched_setaffinity", $"CPU {cpu}");
    }
}
