using System.Globalization;
using System.Text.RegularExpressions;

namespace FastPathSync.Differential;

/// <summary>
/// Two routers with ports p0…, the same MAC addresses, interface indexes and commands; one is plain kernel, in the other the
/// product runs. All far ends of their cables (a0… of the kernel's, b0… of the product's) are in a third namespace.
/// </summary>
internal sealed partial class RouterPair : IDisposable
{
    public const int Ports = 4, Mtu = 1500;
    private const int FirstIfIndex = 100;
    private readonly Lab _lab = new();
    private readonly LabNamespace _wireNamespace;
    private readonly LabNamespace[] _routers;

    /// <param name="linuxPort">The port that isn't the fast path's; null: all are.</param>
    public RouterPair(int? linuxPort = null)
    {
        LinuxPort = linuxPort;
        _wireNamespace = _lab.AddNamespace("wire");
        _routers = [_lab.AddNamespace("a"), _lab.AddNamespace("b")];
        for (int port = 0; port < Ports; port++)
        {
            foreach (Side side in (Side[])[Side.Kernel, Side.Product])
            {
                Connect(side, port);
            }
        }

        Parallel.ForEach(_routers, router => router.Sysctl(Baseline.NamespaceSysctls));
        Wire = new Wire(_wireNamespace, Ports);
        Reset();
        Product = new Product(this[Side.Product]).Start(string.Join(' ', Enumerable.Range(0, Ports).Where(p => p != linuxPort).Select(p => $"--port p{p}")));
    }

    public Wire Wire { get; }

    public Product Product { get; }

    public int? LinuxPort { get; }

    public LabNamespace this[Side side] => _routers[(int)side];

    public static string MacOf(int port) => $"02:00:00:00:00:{port + 1:x2}";

    /// <summary>Both as they were at first, but for what the kernel never forgets (that there once was a rule).</summary>
    public void Reset()
    {
        Apply([.. RulesToDelete(), .. Baseline.Reset()]);
    }

    /// <summary>
    /// Gives the commands to both routers. What fails on both is allowed to; what fails on one only is an error of the
    /// kernel's state, which must be the same.
    /// </summary>
    /// <returns>Which of the commands failed.</returns>
    public HashSet<int> Apply(IReadOnlyList<string> commands)
    {
        HashSet<int>[] failed = new HashSet<int>[2];
        Parallel.For(0, 2, side => failed[side] = Apply((Side)side, commands));
        return failed[0].SetEquals(failed[1])
            ? failed[0]
            : throw new HarnessException($"a command succeeds on one router only: {string.Join("; ", failed[0].Except(failed[1]).Concat(failed[1].Except(failed[0])).Select(i => commands[i]))}");
    }

    /// <summary>Runs `ip` (without the word) in a router and gives its output, whatever the exit code.</summary>
    public string Ip(Side side, string arguments) => Command.Run(["ip", "-n", this[side].Name, .. Command.Split(arguments)]).Output;

    public void Dispose()
    {
        Wire.Dispose();
        _lab.Dispose();
    }

    /// <summary>Rules beyond those that every namespace begins with; a flush would make the kernel one that had rules of its own.</summary>
    private IEnumerable<string> RulesToDelete() =>
        from family in (string[])["-4", "-6"]
        from line in Ip(Side.Kernel, $"{family} rule show").Split('\n', StringSplitOptions.RemoveEmptyEntries)
        where line is not ("0:\tfrom all lookup local" or "32766:\tfrom all lookup main" or "32767:\tfrom all lookup default")
        select $"ip {family} rule del priority {line.Split(':')[0]}";

    private void Connect(Side side, int port)
    {
        string router = this[side].Name, far = Wire.NameOf(side, port);
        _lab.Host($"ip link add p{port} index {FirstIfIndex + port} netns {router} address {MacOf(port)} numtxqueues 1 numrxqueues 1 type veth "
            + $"peer name {far} netns {_wireNamespace.Name} mtu {Baseline.FarMtu} numtxqueues 1 numrxqueues 1").MustSucceed();
        // Offloads would merge, split or complete what is to be compared byte for byte.
        foreach ((LabNamespace ns, string name) in ((LabNamespace, string)[])[(this[side], $"p{port}"), (_wireNamespace, far)])
        {
            ns.Run($"ethtool -K {name} tx off rx off tso off gso off gro off sg off txvlan off rxvlan off");
        }

        _wireNamespace.Run($"ip link set {far} arp off up");
    }

    private HashSet<int> Apply(Side side, IReadOnlyList<string> commands)
    {
        HashSet<int> failed = [];
        for (int i = 0; i < commands.Count;)
        {
            string tool = ToolOf(commands[i]);
            int from = i;
            while (i < commands.Count && ToolOf(commands[i]) == tool)
            {
                i++;
            }

            string[] arguments = [.. Enumerable.Range(from, i - from).Select(j => commands[j][(tool.Length + 1)..])];
            if (tool.StartsWith("sysctl", StringComparison.Ordinal))
            {
                failed.UnionWith(Sysctls(side, arguments).Select(j => from + j));
            }
            else
            {
                string ns = tool.StartsWith("wire", StringComparison.Ordinal) ? _wireNamespace.Name : this[side].Name;
                string family = tool[(tool.IndexOf("ip", StringComparison.Ordinal) + 2)..].Trim();
                string batch = string.Concat(arguments.Select(a => a.Replace("{far}", side == Side.Kernel ? "a" : "b", StringComparison.Ordinal) + "\n"));
                CommandResult result = Command.Run(["ip", "-n", ns, .. Command.Split(family), "-force", "-batch", "-"], batch);
                foreach (Match line in FailedLine().Matches(result.Error))
                {
                    failed.Add(from + int.Parse(line.Groups[1].Value, CultureInfo.InvariantCulture) - 1);
                }
            }
        }

        return failed;
    }

    /// <summary>As sysctl -w does: writes files below /proc/sys, which show the namespace of the thread that opens them.</summary>
    /// <returns>Which of them failed.</returns>
    private List<int> Sysctls(Side side, string[] settings) => this[side].Inside(() =>
    {
        List<int> failed = [];
        foreach ((int i, string setting) in settings.Index())
        {
            int equals = setting.IndexOf('=', StringComparison.Ordinal);
            try
            {
                File.WriteAllText("/proc/sys/" + setting[..equals].Replace('.', '/'), setting[(equals + 1)..]);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failed.Add(i);
            }
        }

        return failed;
    });

    /// <summary>"ip -4", "ip -6", "ip", "wire ip", "sysctl -qw": commands of one tool that follow each other share a process.</summary>
    private static string ToolOf(string command) =>
        command.StartsWith("ip -", StringComparison.Ordinal) ? command[..5]
        : command.StartsWith("wire ip", StringComparison.Ordinal) ? "wire ip"
        : command.StartsWith("sysctl -qw", StringComparison.Ordinal) ? "sysctl -qw"
        : "ip";

    [GeneratedRegex(@"Command failed -:(\d+)")]
    private static partial Regex FailedLine();
}
