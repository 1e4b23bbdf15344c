using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace FastPathSync.LpmBench;

/// <summary>The process of rte_fib.c: DPDK's tables, asked line by line.</summary>
internal sealed class Dpdk : IDisposable
{
    private readonly Process _process;

    public Dpdk(string program, string ealOptions, params string[] files)
    {
        _process = Process.Start(new ProcessStartInfo(program, $"{ealOptions} -- {string.Join(' ', files)}")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        for (string? line = _process.StandardOutput.ReadLine(); line != "ready"; line = _process.StandardOutput.ReadLine())
        {
            if (line is null)
            {
                throw new InvalidOperationException($"{program} {ealOptions} ended before it was ready (see above)");
            }

            string[] words = line.Split(' ', 3);
            if (words[0] == "variant")
            {
                Variants.Add((words[1] == "6", words[2]));
            }
        }
    }

    public List<(bool IsIpv6, string Name)> Variants { get; } = [];

    /// <summary>Nanoseconds.</summary>
    public double Run(int variant, int passes) => double.Parse(Ask($"run {variant} {passes}"), CultureInfo.InvariantCulture);

    /// <summary>The nexthop of each address.</summary>
    public uint[] Answers(int variant, string file)
    {
        if (Ask($"check {variant} {file}") != "ok")
        {
            throw new InvalidOperationException("rte_fib could not write its answers");
        }

        return MemoryMarshal.Cast<byte, uint>(File.ReadAllBytes(file)).ToArray();
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        _process.WaitForExit();
        _process.Dispose();
    }

    private string Ask(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
        return _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException("rte_fib has died");
    }
}
