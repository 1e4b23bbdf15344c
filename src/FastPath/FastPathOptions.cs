using FastPathSync.Hosting;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>How a port's XDP program is attached.</summary>
internal enum RequestedMode
{
    /// <summary>Native where the driver can, else generic.</summary>
    Auto,
    Native,
    Generic,
}

internal sealed class FastPathOptions
{
    public IReadOnlyList<PortName> Ports { get; private set; } = [];

    public int Workers { get; private set; } = 1;

    public RequestedMode Mode { get; private set; }

    public bool PuntThroughTap { get; private set; }

    /// <summary>For reasons without one the defaults hold.</summary>
    public IReadOnlyList<PuntLimitOption> PuntLimits { get; private set; } = [];

    /// <summary>One per worker; empty: the last online CPU for the first worker, and downwards.</summary>
    public IReadOnlyList<int> Cpus { get; private set; } = [];

    /// <summary>Per worker; 0: 4096 per socket.</summary>
    public int Frames { get; private set; }

    public bool Spin { get; private set; }

    public void Declare(OptionTable table) => table
        .List("--port", "[VRF/]IF", "interface to serve; the first is port 0", v => Ports = [.. v.Select(PortName.Parse)])
        .Integer("--workers", "N", "worker threads (default 1)", 1, Capacities.Workers, v => Workers = v)
        .Choice("--mode", "how XDP is attached (default auto: native, where that fails generic)", ["native", "generic", "auto"], v => Mode = v switch
        {
            "native" => RequestedMode.Native,
            "generic" => RequestedMode.Generic,
            _ => RequestedMode.Auto,
        })
        .Choice("--punt", "how exceptions go to Linux (default egress)", ["egress", "tap"], v => PuntThroughTap = v == "tap")
        .List("--punt-limit", "REASON=RATE[:BURST]", "packets per second of a punt reason, or of 'all', that Linux is given", v => PuntLimits = [.. v.Select(Limit)])
        .Text("--cpu", "LIST", "CPUs of the workers, such as 3,5-6 (default: the last ones)", v => Cpus = ParseCpus(v))
        .Integer("--frames", "N", "packet frames per worker (default 4096 per queue served)", 256, 1 << 20, v => Frames = v)
        .Flag("--spin", "workers never sleep", () => Spin = true);

    private static PuntLimitOption Limit(string text)
    {
        try
        {
            return PuntLimitOption.Parse(text);
        }
        catch (FormatException e)
        {
            throw new OptionException($"--punt-limit {text}: {e.Message}");
        }
    }

    internal static List<int> ParseCpus(string list)
    {
        List<int> cpus = [];
        foreach (string part in list.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] ends = part.Split('-');
            if (ends.Length > 2 || !int.TryParse(ends[0], out int first) || !int.TryParse(ends[^1], out int last) || first < 0 || last < first || last > 1023)
            {
                throw new OptionException($"--cpu {list}: '{part}' is neither a CPU number nor a range such as 2-5");
            }

            cpus.AddRange(Enumerable.Range(first, last - first + 1));
        }

        return cpus;
    }
}
