using System.Globalization;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>What is checked before anything is started; each fault is one line with cause and mend.</summary>
internal static unsafe class StartCheck
{
    /// <summary>Of a VRF: the longest that fits the names of its tables.</summary>
    private const int LongestVrfName = 127;

    // Bits of CapEff in /proc/self/status (linux/capability.h). CAP_SYS_ADMIN includes CAP_BPF.
    private const int CAP_NET_ADMIN = 12, CAP_NET_RAW = 13, CAP_SYS_ADMIN = 21, CAP_BPF = 39;

    /// <summary>Inode of this process's network namespace.</summary>
    public static ulong OwnNamespace => NetworkNamespace.OwnInode;

    public static void Capabilities()
    {
        string? line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        if (line is null || !ulong.TryParse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong held))
        {
            return;
        }

        List<string> missing = [];
        foreach ((int bit, string name) in new[] { (CAP_NET_ADMIN, "CAP_NET_ADMIN"), (CAP_BPF, "CAP_BPF"), (CAP_NET_RAW, "CAP_NET_RAW") })
        {
            bool has = (held >> bit & 1) != 0 || (bit == CAP_BPF && (held >> CAP_SYS_ADMIN & 1) != 0);
            if (!has)
            {
                missing.Add(name);
            }
        }

        if (missing.Count > 0)
        {
            throw new CliError($"this user lacks {string.Join(", ", missing)}, needed to attach XDP and open AF_XDP sockets; run it as root: sudo fpctl start ...");
        }
    }

    /// <summary>The ports that [VRF/]IF of the command line name; the home VRF by no name, however it was called.</summary>
    public static IReadOnlyList<PortName> Ports(IReadOnlyList<string> requested)
    {
        if (requested.Count == 0)
        {
            throw new CliError("no port given: name the interfaces to serve with --port [VRF/]IF (repeat it for each)", CliError.Usage);
        }

        if (requested.Count > SharedMemory.Capacities.Ports)
        {
            throw new CliError($"{requested.Count} ports given: at most {SharedMemory.Capacities.Ports} can be served", CliError.Usage);
        }

        List<PortName> ports = [];
        foreach (string text in requested)
        {
            PortName port = Resolve(text, OwnNamespace, ports);
            if (ports.Contains(port))
            {
                throw new CliError($"port '{text}' is given twice; name each interface once", CliError.Usage);
            }

            ports.Add(port);
        }

        ports.ForEach(p => Interface(p, lookHome: true));
        return ports;
    }

    /// <summary>The port that [VRF/]IF names in a running instance, which may have been started in another namespace than this process is in.</summary>
    /// <param name="home">Inode of the instance's namespace.</param>
    /// <param name="served">Its ports.</param>
    public static PortName Port(string text, ulong home, IReadOnlyList<PortName> served, bool mustExist)
    {
        PortName port = Resolve(text, home, served, mustExist);
        if (mustExist && !served.Contains(port))
        {
            Interface(port, lookHome: home == OwnNamespace);
        }

        return port;
    }

    /// <summary>The home VRF by no name, however it was called; another by the name under which it was first given.</summary>
    private static PortName Resolve(string text, ulong home, IReadOnlyList<PortName> known, bool mustExist = true)
    {
        PortName port = PortName.Parse(text);
        return text.Contains('/', StringComparison.Ordinal) && !(known.Contains(port) && !mustExist) ? port with { Vrf = Vrf(text, port.Vrf, home, known) } : port;
    }

    /// <summary>--vrfs: "all" or names, which need not be there yet.</summary>
    public static string? Vrfs(string? text)
    {
        foreach (string name in text is null or "all" ? [] : text.Split(',', StringSplitOptions.TrimEntries))
        {
            VrfName($"--vrfs {text}", name);
        }

        return text;
    }

    /// <summary>No other running instance may serve one of the ports.</summary>
    public static void Conflicts(Hosting.Instance instance, IReadOnlyList<PortName> ports, ulong home)
    {
        string? parent = Path.GetDirectoryName(instance.Directory);
        if (parent is null || !Directory.Exists(parent))
        {
            return;
        }

        HashSet<(ulong, string)> ours = [.. ports.Select(p => Place(p, home))];
        foreach (string directory in Directory.EnumerateDirectories(parent))
        {
            string name = Path.GetFileName(directory);
            if (name == instance.Name || Hosting.Instance.Fault(name) is not null)
            {
                continue;
            }

            Hosting.Instance other = new(name, directory);
            if (InstanceLock.IsHeld(other) && InstancePlan.TryRead(other) is InstancePlan plan
                && plan.Named().Select(p => p.Name).FirstOrDefault(p => ours.Contains(Place(PortName.Parse(p), plan.NetworkNamespace))) is string port)
            {
                throw new CliError($"port '{port}' is already served by instance '{name}'; stop it with: fpctl stop --instance {name}");
            }
        }
    }

    private static (ulong Namespace, string Interface) Place(PortName port, ulong home) =>
        (port.Vrf.Length == 0 ? home : NetworkNamespace.TryInode(port.Vrf) ?? 0, port.Interface);

    private static string Vrf(string port, string name, ulong home, IReadOnlyList<PortName> known)
    {
        if (name == NetworkNamespace.Unnamed)
        {
            return "";
        }

        VrfName($"port '{port}'", name);
        if (NetworkNamespace.TryInode(name) is not ulong inode)
        {
            throw new CliError($"port '{port}': there is no VRF (network namespace) '{name}' in {NetworkNamespace.Directory}; `ip netns list` shows those there are");
        }

        return inode == home ? "" : known.Select(k => k.Vrf).FirstOrDefault(k => k.Length > 0 && NetworkNamespace.TryInode(k) == inode) ?? name;
    }

    private static void VrfName(string what, string name)
    {
        if (name.Length is 0 or > LongestVrfName || name is "." or ".." || name.Contains('/', StringComparison.Ordinal))
        {
            throw new CliError($"{what}: '{name}' is no name of a VRF (network namespace): 1 to {LongestVrfName} characters without '/'", CliError.Usage);
        }
    }

    private static void Interface(PortName port, bool lookHome)
    {
        string name = port.Interface;
        if (name == "lo")
        {
            throw new CliError($"port '{port}': the loopback interface has nothing to forward; name real or virtual Ethernet interfaces");
        }

        if (name.Length is 0 or > 15)
        {
            throw new CliError($"port '{port}': an interface name has 1 to 15 characters", CliError.Usage);
        }

        // The fast path, which is in the home VRF, looks there anyway.
        if ((port.Vrf.Length > 0 || lookHome) && !Exists(port))
        {
            string where = port.Vrf.Length == 0 ? "this network namespace" : $"VRF '{port.Vrf}'";
            string list = port.Vrf.Length == 0 ? "ip link" : $"ip -n {port.Vrf} link";
            string mend = FindElsewhere(name) is string elsewhere ? $"it is in '{elsewhere}': --port {elsewhere}/{name}" : $"`{list}` shows those there are";
            throw new CliError($"port '{port}': no such interface in {where}; {mend}");
        }
    }

    private static bool Exists(PortName port)
    {
        try
        {
            return (port.Vrf.Length == 0
                ? Libc.if_nametoindex(port.Interface)
                : NetworkNamespace.Run($"{NetworkNamespace.Directory}/{port.Vrf}", () => Libc.if_nametoindex(port.Interface))) != 0;
        }
        catch (LinuxException e)
        {
            throw new CliError($"port '{port}': VRF '{port.Vrf}' can't be entered: {e.Message}");
        }
    }

    private static string? FindElsewhere(string name)
    {
        foreach ((string vrf, _) in NetworkNamespace.All())
        {
            try
            {
                if (Exists(new PortName(vrf, name)))
                {
                    return vrf;
                }
            }
            catch (CliError)
            {
                // Not ours to enter, or it has just gone.
            }
        }

        return null;
    }
}
