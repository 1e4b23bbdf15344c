using System.Diagnostics;
using FastPathSync.Linux;

namespace FastPathSync.PipelineBench;

/// <summary>How many times a nanosecond the TSC ticks: read by three instructions of our own, against CLOCK_MONOTONIC.</summary>
internal static unsafe class TimeStampCounter
{
    // rdtsc; shl rdx, 32; or rax, rdx; ret
    private static readonly byte[] s_code = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];

    public static double CalibrateGigahertz()
    {
        void* page = Libc.mmap(null, 4096, Libc.PROT_READ | Libc.PROT_WRITE | Libc.PROT_EXEC, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, 0);
        if (page == (void*)-1)
        {
            throw LinuxException.FromLastError("mmap", "rdtsc");
        }

        s_code.CopyTo(new Span<byte>(page, 4096));
        var read = (delegate* unmanaged<ulong>)page;
        double[] rates = new double[9];
        for (int i = 0; i < rates.Length; i++)
        {
            long from = Stopwatch.GetTimestamp();
            ulong ticks = read();
            while (Stopwatch.GetElapsedTime(from).TotalMilliseconds < 20)
            {
            }

            ulong end = read();
            rates[i] = (end - ticks) / Stopwatch.GetElapsedTime(from).TotalNanoseconds;
        }

        _ = Libc.munmap(page, 4096);
        Array.Sort(rates);
        return rates[rates.Length / 2];
    }
}
