namespace FastPathSync.Labs;

/// <summary>Where the product under test stands.</summary>
public static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>out/, or what FPS_OUT names.</summary>
    public static string Out { get; } = Environment.GetEnvironmentVariable("FPS_OUT") ?? Path.Combine(Root, "out");

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

/// <summary>What a test needs beyond the product. What is missing skips the test by name.</summary>
public static class Require
{
    public static void Tools(params ReadOnlySpan<string> programs)
    {
        foreach (string program in programs)
        {
            Assert.SkipUnless(Command.Exists(program), $"needs {program} (./dev setup installs it)");
        }
    }

    /// <summary>Of a test that can't hold where the run attaches by generic XDP (StartDefaults).</summary>
    public static void Native(string why) => Assert.SkipWhen(StartDefaults.IsGeneric, $"not with --mode generic: {why}");
}
