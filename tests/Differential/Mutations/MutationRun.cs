using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>
/// Breaks a copy of the product in one way after the other, builds what is affected, and sends the oracle at it. The tree that
/// the tests run from is never written to.
/// </summary>
internal sealed class MutationRun(RunOptions options)
{
    private const int CasesEach = 3000;
    private static readonly TimeSpan s_runLimit = TimeSpan.FromMinutes(6), s_buildLimit = TimeSpan.FromMinutes(10);
    private readonly string _copy = Path.Combine(Path.GetTempPath(), $"fps-mutants-{Environment.ProcessId}");

    public int Run()
    {
        Mutation[] chosen = [.. Mutations.All.Where(m => options.Only is null || m.Name == options.Only)];
        if (chosen.Length == 0)
        {
            throw new HarnessException($"no mutation is called '{options.Only}'; there are {string.Join(", ", Mutations.All.Select(m => m.Name))}");
        }

        List<(string Name, bool Caught)> results = [];
        try
        {
            Copy();
            foreach (Mutation mutation in chosen)
            {
                // Applied and put back before anything is built: an outdated list is found out in a second.
                Restore(mutation, mutation.Apply(_copy));
            }

            foreach (string project in chosen.Select(m => m.Project).Distinct())
            {
                Dotnet($"restore src/{project}", "restore", $"src/{project}", "-v", "q");
                Build(project, references: true);
            }

            foreach (Mutation mutation in chosen)
            {
                results.Add((mutation.Name, IsCaught(mutation)));
            }
        }
        finally
        {
            if (Directory.Exists(_copy))
            {
                Directory.Delete(_copy, recursive: true);
            }
        }

        Console.WriteLine($"{results.Count(r => r.Caught)} of {results.Count} mutations caught");
        TestReport.Write(options.Report, [.. results.Select(r => ($"differential: mutation {r.Name} is caught", r.Caught))]);
        return results.TrueForAll(r => r.Caught) ? 0 : 1;
    }

    private bool IsCaught(Mutation mutation)
    {
        Stopwatch clock = Stopwatch.StartNew();
        string before = mutation.Apply(_copy), program = Program(mutation.Project), built = Path.Combine(_copy, "out", program + ".dll"), sound = built + ".sound";
        try
        {
            Build(mutation.Project, references: false);
            TimeSpan build = clock.Elapsed;
            File.Copy(built, sound, overwrite: true);
            File.Copy(Path.Combine(_copy, "src", mutation.Project, "bin/Release/net10.0/linux-x64", program + ".dll"), built, overwrite: true);
            CommandResult result = Oracle();
            string[] lines = result.Output.Split('\n');
            string? found = lines.FirstOrDefault(l => l.StartsWith("MISMATCH", StringComparison.Ordinal));
            bool caught = result.ExitCode == 1 && found is not null;
            Console.WriteLine($"{(caught ? "caught    " : "NOT CAUGHT")} {mutation.Name,-22} {mutation.What} (build {build.TotalSeconds:0} s, run {(clock.Elapsed - build).TotalSeconds:0} s)");
            foreach (string line in caught ? lines.SkipWhile(l => l != found).Take(3) : [.. lines.TakeLast(12), result.Error])
            {
                Console.WriteLine($"             {(line.Length > 220 ? line[..220] + "…" : line)}");
            }

            return caught;
        }
        finally
        {
            Restore(mutation, before);
            if (File.Exists(sound))
            {
                File.Move(sound, built, overwrite: true);
            }
        }
    }

    private CommandResult Oracle() => Command.Run(
        ["env", $"FPS_OUT={_copy}/out", Environment.ProcessPath!, "--seed", $"{options.Seed}", "--cases", $"{CasesEach}", "--no-minimise", "--no-verify"],
        timeout: s_runLimit);

    private void Copy()
    {
        Directory.CreateDirectory(_copy);
        string[] parts = ["src", "proto", "bpf", "Directory.Build.props", "Directory.Packages.props", "global.json", ".editorconfig"];
        Command.Run(["tar", "-C", Repository.Root, "--exclude=bin", "--exclude=obj", "-cf", $"{_copy}/tree.tar", .. parts]).MustSucceed();
        Command.Run(["tar", "-C", _copy, "-xf", $"{_copy}/tree.tar"]).MustSucceed();
        Command.Run(["cp", "-a", Repository.Out, $"{_copy}/out"]).MustSucceed();
    }

    private void Build(string project, bool references) => Dotnet(
        $"build of src/{project}", "build", $"src/{project}", "-c", "Release", "--no-restore", "-v", "q",
        $"-p:BuildProjectReferences={(references ? "true" : "false")}", "-p:TreatWarningsAsErrors=false", "-p:RunAnalyzers=false", "-p:EnforceCodeStyleInBuild=false");

    private void Dotnet(string what, params string[] arguments)
    {
        CommandResult result = Command.Run(["env", "-C", _copy, "dotnet", .. arguments], timeout: s_buildLimit);
        if (!result.Ok)
        {
            throw new HarnessException($"{what} failed:\n{result.Output}{result.Error}");
        }
    }

    private void Restore(Mutation mutation, string text) => File.WriteAllText(Path.Combine(_copy, mutation.File), text);

    private static string Program(string project) => project switch
    {
        "FastPath" => "fastpath",
        "FpManager" => "fpmd",
        "CacheManager" => "cmgrd",
        _ => throw new HarnessException($"which program is made of src/{project}?"),
    };
}
