namespace FastPathSync.Hosting;

/// <summary>A running system's name and the paths of everything that belongs to it.</summary>
public sealed class Instance
{
    public const string DefaultName = "default";

    /// <summary>Environment variable that replaces /run/fastpathsync (tests, and users that are not root).</summary>
    public const string RunVariable = "FASTPATHSYNC_RUN";

    private const string DefaultBase = "/run/fastpathsync";

    /// <exception cref="ArgumentException">The name can't be that of an instance; the message says why.</exception>
    public Instance(string name, string? directory = null)
    {
        if (Fault(name) is string fault)
        {
            throw new ArgumentException(fault);
        }

        Name = name;
        Directory = directory ?? Path.Combine(BaseDirectory, name);
    }

    public static string BaseDirectory =>
        Environment.GetEnvironmentVariable(RunVariable) is { Length: > 0 } v ? Path.GetFullPath(v) : DefaultBase;

    public string Name { get; }

    public string Directory { get; }

    public string Lock => In("lock");

    public string RespawnLock => In("respawn.lock");

    public string InstanceFile => In("instance.json");

    public string DaemonsFile => In("daemons.json");

    public string SupervisorSocket => In("supervisor.sock");

    public string NotifySocket => In("notify.sock");

    public string FpcSocket => In("fpc.sock");

    public string NetFpcSocket => In("netfpc.sock");

    public string Log(string daemon) => In($"{daemon}.log");

    public string In(string file) => Path.Combine(Directory, file);

    /// <summary>Why a name is no instance name, or null. It becomes a directory name and part of socket paths (108 bytes).</summary>
    public static string? Fault(string name) =>
        name.Length is 0 or > 32 ? $"instance name '{name}': must have 1 to 32 characters"
        : name[0] is '.' or '-' || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-')
            ? $"instance name '{name}': letters, digits, '.', '_' and '-' only, not beginning with '.' or '-'"
        : null;

    public override string ToString() => Name;
}
