using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>The counters of a port (or, at index Capacities.Ports, of everything) at one moment.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct CounterSample
{
    public ulong Rx;
    public ulong RxBytes;
    public ulong Tx;
    public ulong TxBytes;
    public ulong Forwarded;
    public ulong Punted;
    public ulong Dropped;
    public ulong Passed;
}

/// <summary>
/// The last 300 samples, one a second. Body: {next u64: samples ever written, padding to 64}, then per sample
/// {CLOCK_MONOTONIC nanoseconds u64, CounterSample[Ports + 1]}. Sample n stands at n mod 300; it is valid once next > n.
/// Writer: fpsd. Readers: fpctl.
/// </summary>
public static unsafe class TimeSeriesSegment
{
    public const int Samples = 300;

    public static int SampleBytes => 8 + ((Capacities.Ports + 1) * sizeof(CounterSample));

    public static nuint BodyLength => 64 + ((nuint)Samples * (nuint)SampleBytes);

    public static ulong* Next(Segment s) => (ulong*)s.Body;

    public static ulong* Time(Segment s, ulong n) => (ulong*)(s.Body + 64 + ((nuint)(n % Samples) * (nuint)SampleBytes));

    public static CounterSample* Counters(Segment s, ulong n, int port) => (CounterSample*)(Time(s, n) + 1) + port;
}
