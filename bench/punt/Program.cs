using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FastPathSync.FastPath;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

// PuntBench INJECT TARGET FRAME ROUNDS MILLISECONDS CPU: in the namespace that it is started in, injects the frame as received on TARGET,
// by turns as the product does and as INJECT does (through the TAP `bare0`), each through the egress hook and by writing to the TAP.
// A line for each of the four: name, tab, frames per second (all rounds); then the ratios.
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
(string inject, string target, byte[] frame) = (args[0], args[1], Convert.FromHexString(args[2]));
(int rounds, int milliseconds, int cpu) = (int.Parse(args[3]), int.Parse(args[4]), int.Parse(args[5]));
ulong mask = 1ul << cpu;
uint ifindex;
unsafe
{
    LinuxException.ThrowIfNegative(Libc.sched_setaffinity(0, sizeof(ulong), &mask), "sched_setaffinity", $"CPU {cpu}");
    ifindex = Libc.if_nametoindex(target);
}

FptunConstants constants = FptunConstants.Random();
using Carrier carrier = Carrier.Create(constants, "the bench's namespace");
carrier.AllowPort(ifindex);
using PortTrailers trailers = new();
trailers.Set(0, ifindex, genericXdp: false);
using Injector egress = new(new CarrierQueue(carrier.IfIndex, null, constants.Secret), trailers);
using Injector tap = new(new CarrierQueue(carrier.IfIndex, carrier.Tap, constants.Secret), trailers);

(string Name, Func<double> Run)[] contestants =
[
    ("ours, egress hook", () => Ours(egress)),
    ("bare minimum in C, egress hook", () => Bare("egress")),
    ("ours, TAP write", () => Ours(tap)),
    ("bare minimum in C, TAP write", () => Bare("tap")),
];
double[][] rates = [.. contestants.Select(_ => new double[rounds])];
foreach ((_, Func<double> run) in contestants)
{
    run(); // compiles everything
}

for (int round = 0; round < rounds; round++)
{
    for (int i = 0; i < contestants.Length; i++)
    {
        int who = round % 2 == 0 ? i : i ^ 1; // who of a pair begins alternates
        rates[who][round] = contestants[who].Run();
    }
}

for (int i = 0; i < contestants.Length; i++)
{
    Console.WriteLine($"{contestants[i].Name}\t{rates[i].Order().ElementAt(rounds / 2):0}\t{rates[i].Min():0}\t{rates[i].Max():0}");
}

Console.WriteLine($"ratio egress\t{Ratio(rates[0], rates[1]):0.000}");
Console.WriteLine($"ratio tap\t{Ratio(rates[2], rates[3]):0.000}");
return 0;

static double Ratio(double[] a, double[] b) => Math.Exp(a.Zip(b, (x, y) => Math.Log(x / y)).Average());

unsafe double Ours(Injector injector)
{
    const int Stride = 2048; // as frames lie in a UMEM
    PortCounters counters = default;
    byte* frames = (byte*)NativeMemory.AlignedAlloc(PacketVector.Size * Stride, 4096);
    for (int i = 0; i < PacketVector.Size; i++)
    {
        frame.CopyTo(new Span<byte>(frames + (i * Stride), Stride));
    }

    long start = Stopwatch.GetTimestamp();
    while (Stopwatch.GetElapsedTime(start).TotalMilliseconds < milliseconds)
    {
        for (int i = 0; i < PacketVector.Size; i++)
        {
            injector.Add(frames + (i * Stride), (uint)frame.Length, 0, (byte)PuntReason.Blackhole);
        }

        injector.Flush(&counters);
    }

    double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
    NativeMemory.AlignedFree(frames);
    return counters.Punted[(int)PuntReason.Blackhole] / seconds;
}

double Bare(string way)
{
    using Process p = Process.Start(new ProcessStartInfo(inject, [way, $"{milliseconds}", "bare0", target, args[2]]) { RedirectStandardOutput = true })!;
    string output = p.StandardOutput.ReadToEnd();
    p.WaitForExit();
    return p.ExitCode == 0 ? double.Parse(output) : throw new InvalidOperationException($"{inject} ended with status {p.ExitCode}");
}
