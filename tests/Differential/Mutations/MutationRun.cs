using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace FastPathSync.Differential;

/// <summary>
/// Breaks a copy of the product in one way after the other, builds what is affected, and sends the oracle at it. The tree that
/// the tests run from is never written to.
/// </summary>
internal sealed partial class MutationRun(RunOptions options)
{
    private const int CasesEach = 10_000;
    private static readonly TimeSpan s_runLimit = TimeSpan.FromMinutes(10);
    private readonly Dictionary<string, Compiler> _compilers = [];
    private readonly string _copy = Path.Combine(Path.GetTempPath(), $"fps-mutants-{Environment.ProcessId}");

    public int Run()
    {
        Mutation[] chosen = [.. Mutations.All.Where(m => options.Only is null || m.Name == options.Only)];
        if (chosen.Length == 0)
        {
            throw new HarnessException($"no mutation is called '{options.Only}'; there are {string.Join(", ", Mutations.All.Select(m => m.Name))}");
        }

        List<(string Name, bool Caught)> results = [];
        Console.WriteLine($"mutations: seed {options.Seed}, {CasesEach} cases each");
        try
        {
            Copy();
            if (Oracle() is { ExitCode: not 0 } unbroken)
            {
                throw new HarnessException($"the product as it is doesn't pass, so nothing is proven by breaking it:\n{unbroken.Output}{unbroken.Error}");
            }

            foreach (Mutation mutation in chosen)
            {
                // Applied and put back before anything is built: an outdated list is found out in a second.
                Restore(mutation, mutation.Apply(_copy));
            }

            foreach (IGrouping<string, Mutation> project in chosen.GroupBy(m => m.Project))
            {
                _compilers[project.Key] = new Compiler(_copy, project.Key, project.First().File);
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
        Compiler compiler = _compilers[mutation.Project];
        string before = mutation.Apply(_copy), used = Path.Combine(_copy, "out", Path.GetFileName(compiler.Output)), sound = used + ".sound";
        try
        {
            compiler.Compile();
            TimeSpan build = clock.Elapsed;
            File.Copy(used, sound, overwrite: true);
            File.Copy(compiler.Output, used, overwrite: true);
            string[] lines = [];
            bool caught = false;
            CommandResult result;
            for (int epoch = 0, cases = CasesEach; ; epoch++)
            {
                result = Oracle(epoch, cases);
                lines = result.Output.Split('\n');
                if (result.ExitCode != 1 || Again().Match(result.Output) is not { Success: true } again)
                {
                    break;
                }

                // What doesn't come again when its epoch is run alone was an accident of timing: it counts for nothing.
                epoch = int.Parse(again.Groups[1].Value, CultureInfo.InvariantCulture);
                caught = Oracle(epoch, int.Parse(again.Groups[2].Value, CultureInfo.InvariantCulture)).ExitCode == 1;
                cases -= int.Parse(Cases().Match(result.Output).Groups[1].Value, CultureInfo.InvariantCulture);
                if (caught || cases <= 0)
                {
                    break;
                }

                Console.WriteLine($"           {mutation.Name}: a mismatch of epoch {epoch} did not come again; going on behind it");
            }

            string? found = lines.FirstOrDefault(l => l.StartsWith("MISMATCH", StringComparison.Ordinal));
            Console.WriteLine($"{(caught ? "caught    " : "NOT CAUGHT")} {mutation.Name,-22} {mutation.What} (compiled in {build.TotalSeconds:0} s, run {(clock.Elapsed - build).TotalSeconds:0} s)");
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
                File.Move(sound, used, overwrite: true);
            }
        }
    }

    private CommandResult Oracle(int epoch = 0, int cases = CasesEach) => Command.Run(
        ["env", $"FPS_OUT={_copy}/out", Environment.ProcessPath!, "--seed", $"{options.Seed}", "--epoch", $"{epoch}", "--cases", $"{cases}", "--no-minimise", "--no-verify"],
        timeout: s_runLimit);

    [GeneratedRegex(@"again: .* --epoch (\d+) --cases (\d+)")]
    private static partial Regex Again();

    [GeneratedRegex(@"^(\d+) cases, ", RegexOptions.Multiline)]
    private static partial Regex Cases();

    private void Copy()
    {
        Directory.CreateDirectory(_copy);
        string[] parts = ["src", "proto", "bpf", "Directory.Build.props", "Directory.Packages.props", "global.json", ".editorconfig"];
        Command.Run(["tar", "-C", Repository.Root, "--exclude=bin", "--exclude=obj", "-cf", $"{_copy}/tree.tar", .. parts]).MustSucceed();
        Command.Run(["tar", "-C", _copy, "-xf", $"{_copy}/tree.tar"]).MustSucceed();
        Command.Run(["cp", "-a", Repository.Out, $"{_copy}/out"]).MustSucceed();
    }

    private void Restore(Mutation mutation, string text) => File.WriteAllText(Path.Combine(_copy, mutation.File), text);
}
