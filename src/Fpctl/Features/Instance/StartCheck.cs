using System.Globalization;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>What is checked before anything is started; each fault is one line with cause and mend.</summary>
internal static unsafe class StartCheck
{
    private const string NamedNamespaces = "/run/netns";
    private const string OwnNamespace = "/proc/self/ns/net";

    // Bits of CapEff in /proc/self/status (linux/capability.h). CAP_SYS_ADMIN includes CAP_BPF.
    private const int CAP_NET_ADMIN = 12, CAP_NET_RAW = 13, CAP_SYS_ADMIN = 21, CAP_BPF = 39;

    /// <summary>Inode of this process's network namespace.</summary>
    public static ulong NetworkNamespace => NamespaceInode(OwnNamespace) ?? 0;

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

    /// <summary>Interface names from the [VRF/]IF of the command line.</summary>
    public static IReadOnlyList<string> Ports(IReadOnlyList<string> requested)
    {
        if (requested.Count == 0)
        {
            throw new CliError("no port given: name the interfaces to serve with --port IF (repeat it for each)", CliError.Usage);
        }

        if (requested.Count > SharedMemory.Capacities.Ports)
        {
            throw new CliError($"{requested.Count} ports given: at most {SharedMemory.Capacities.Ports} can be served", CliError.Usage);
        }

        List<string> names = [];
        foreach (string port in requested)
        {
            int slash = port.IndexOf('/', StringComparison.Ordinal);
            string name = slash < 0 ? port : port[(slash + 1)..];
            if (slash >= 0)
            {
                OwnVrf(port, port[..slash], name);
            }

            if (names.Contains(name))
            {
                throw new CliError($"port '{name}' is given twice; name each interface once", CliError.Usage);
            }

            names.Add(name);
        }

        names.ForEach(Interface);
        return names;
    }

    /// <summary>No other running instance of this namespace may serve one of the ports.</summary>
    public static void Conflicts(Hosting.Instance instance, IReadOnlyList<string> ports)
    {
        string? parent = Path.GetDirectoryName(instance.Directory);
        if (parent is null || !Directory.Exists(parent))
        {
            return;
        }

        ulong ours = NetworkNamespace;
        foreach (string directory in Directory.EnumerateDirectories(parent))
        {
            string name = Path.GetFileName(directory);
            if (name == instance.Name || Hosting.Instance.Fault(name) is not null)
            {
                continue;
            }

            Hosting.Instance other = new(name, directory);
            if (InstanceLock.IsHeld(other) && InstancePlan.TryRead(other) is InstancePlan plan && plan.NetworkNamespace == ours
                && plan.Ports.FirstOrDefault(ports.Contains) is string port)
            {
                throw new CliError($"port '{port}' is already served by instance '{name}' in this network namespace; stop it with: fpctl stop --instance {name}");
            }
        }
    }

    private static void OwnVrf(string port, string vrf, string name)
    {
        if (vrf is "default" or "")
        {
            return;
        }

        string path = Path.Combine(NamedNamespaces, vrf);
        if (!File.Exists(path))
        {
            throw new CliError($"port '{port}': there is no VRF (network namespace) '{vrf}' in {NamedNamespaces}; `ip netns list` shows those there are");
        }

        if (NamespaceInode(path) != NetworkNamespace)
        {
            throw new CliError($"port '{port}': an instance serves the network namespace it is started in, and '{vrf}' is another; start it there: ip netns exec {vrf} fpctl start --port {name} ...");
        }
    }

    private static void Interface(string name)
    {
        if (name == "lo")
        {
            throw new CliError("port 'lo': the loopback interface has nothing to forward; name real or virtual Ethernet interfaces");
        }

        if (name.Length is 0 or > 15)
        {
            throw new CliError($"port '{name}': an interface name has 1 to 15 characters", CliError.Usage);
        }

        if (Libc.if_nametoindex(name) == 0)
        {
            string mend = FindElsewhere(name) is string ns
                ? $"it is in '{ns}': ip netns exec {ns} fpctl start --port {name} ..."
                : "`ip link` shows those there are";
            throw new CliError($"port '{name}': no such interface in this network namespace; {mend}");
        }

        using FileDescriptor socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0), "socket", name);
        Libc.ifreq request = default;
        System.Text.Encoding.UTF8.GetBytes(name, new Span<byte>(request.ifr_name, 15));
        if (Libc.ioctl(socket.Number, Libc.SIOCGIFMTU, &request) < 0)
        {
            throw new CliError($"port '{name}': cannot read its MTU: {LinuxException.FromLastError("SIOCGIFMTU", name).Message}");
        }
    }

    private static string? FindElsewhere(string name)
    {
        if (!Directory.Exists(NamedNamespaces))
        {
            return null;
        }

        foreach (string path in Directory.EnumerateFiles(NamedNamespaces).Order(StringComparer.Ordinal))
        {
            try
            {
                if (NamespaceInode(path) != NetworkNamespace && Linux.NetworkNamespace.Run(path, () => Libc.if_nametoindex(name)) != 0)
                {
                    return Path.GetFileName(path);
                }
            }
            catch (LinuxException)
            {
                // Not a namespace (any more), or not ours to enter.
            }
        }

        return null;
    }

    private static ulong? NamespaceInode(string path)
    {
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            return null;
        }

        using FileDescriptor file = new(fd);
        const int StatBytes = 144, InodeOffset = 8; // struct stat, asm/stat.h on x86-64
        byte* stat = stackalloc byte[StatBytes];
        return Libc.fstat(fd, stat) == 0 ? *(ulong*)(stat + InodeOffset) : null;
    }
}
