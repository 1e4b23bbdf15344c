namespace FastPathSync.Architecture.Tests;

internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>Source files of ours below a folder; nothing generated.</summary>
    public static IEnumerable<string> Files(string folder, params string[] extensions)
    {
        string path = Path.Combine(Root, folder);
        return !Directory.Exists(path)
            ? []
            : Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories)
                .Where(f => extensions.Contains(Path.GetExtension(f)))
                .Select(f => Path.GetRelativePath(Root, f))
                .Where(f => !f.Split('/').Any(part => part is "obj" or "bin"));
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
        {
            if (File.Exists(Path.Combine(d.FullName, "FastPathSync.sln")))
            {
                return d.FullName;
            }
        }

        throw new InvalidOperationException($"no FastPathSync.sln above {AppContext.BaseDirectory}");
    }
}
