using System.Xml.Linq;

namespace FastPathSync.Architecture.Tests;

/// <summary>Who may reference whom (DESIGN, processes and projects), read from the project files.</summary>
public sealed class DependencyTests
{
    private static readonly string[] s_processes = ["FastPath", "CacheManager", "FpManager", "Hitflags", "Fps", "Fpctl"];

    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["FastPath"] = ["Packets", "Linux", "Bpf", "SharedMemory", "NetFpc", "Hosting"],
        ["CacheManager"] = ["Netlink", "Fpc", "Linux", "Hosting"],
        ["FpManager"] = ["Fpc", "NetFpc", "SharedMemory", "Linux", "Hosting"],
        ["Hitflags"] = ["SharedMemory", "Netlink", "Linux", "Hosting"],
        ["Fps"] = ["SharedMemory", "Netlink", "Linux", "Hosting"],
        ["Fpctl"] = ["Packets", "SharedMemory", "Netlink", "Bpf", "Linux", "NetFpc", "Hosting"], // Bpf, a library: the policer is fpctl's alone, no daemon loads it
        ["Linux"] = [],
        ["Packets"] = [],
        ["Netlink"] = ["Linux"],
        ["Bpf"] = ["Linux"],
        ["SharedMemory"] = ["Linux"],
        ["Fpc"] = ["Linux"],
        ["NetFpc"] = ["Linux"],
        ["Hosting"] = ["Linux", "SharedMemory"],
    };

    public static TheoryData<string> Projects => [.. Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).Select(d => Path.GetFileName(d)).Order()];

    [Theory]
    [MemberData(nameof(Projects))]
    public void ReferencesOnlyWhatTheDesignAllows(string project)
    {
        Assert.True(s_allowed.TryGetValue(project, out string[]? allowed), $"src/{project} is not in the table of this test: say what it may reference");
        string[] forbidden = [.. References(project).Except(allowed)];
        Assert.True(forbidden.Length == 0, $"{project} references {string.Join(", ", forbidden)}");
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void NeverReachesAProcess(string project)
    {
        string[] reached = [.. Closure(project).Intersect(s_processes)];
        Assert.True(reached.Length == 0, $"{project} reaches {string.Join(", ", reached)}");
    }

    [Theory]
    [InlineData("FastPath", "Netlink")]
    [InlineData("FastPath", "Fpc")]
    [InlineData("CacheManager", "SharedMemory")]
    [InlineData("FpManager", "Netlink")]
    public void DoesNotReachEvenThroughLibraries(string project, string forbidden) =>
        Assert.DoesNotContain(forbidden, Closure(project));

    private static HashSet<string> Closure(string project)
    {
        HashSet<string> reached = [];
        Stack<string> open = new(References(project));
        while (open.TryPop(out string? next))
        {
            if (reached.Add(next))
            {
                foreach (string further in References(next))
                {
                    open.Push(further);
                }
            }
        }

        return reached;
    }

    private static IEnumerable<string> References(string project) =>
        XDocument.Load(Path.Combine(Repository.Root, "src", project, project + ".csproj"))
            .Descendants("ProjectReference")
            .Select(r => Path.GetFileNameWithoutExtension((string)r.Attribute("Include")!));
}
