using System.Text.Json;

namespace FastPathSync.Differential;

/// <summary>
/// Compiles one project of a copied tree again and again. MSBuild is asked once for the compiler's command line; the compiler
/// alone takes a third of the time.
/// </summary>
internal sealed class Compiler
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(10);
    private static readonly string[] s_lenient = ["-p:Configuration=Release", "-p:TreatWarningsAsErrors=false", "-p:RunAnalyzers=false", "-p:EnforceCodeStyleInBuild=false"];
    private readonly string _directory, _compiler, _response;

    /// <param name="tree">The copy's root. Builds what the project refers to as well.</param>
    /// <param name="source">A file of the project.</param>
    public Compiler(string tree, string project, string source)
    {
        _directory = Path.Combine(tree, "src", project);
        Dotnet("restore", "restore", "-v", "q");
        Dotnet("build", ["build", "--no-restore", "-v", "q", .. s_lenient]);
        File.SetLastWriteTimeUtc(Path.Combine(tree, source), DateTime.UtcNow); // or it would have nothing to compile, and no command line
        string answer = Dotnet("question", ["msbuild", "-t:Compile", "-getItem:CscCommandLineArgs", "-getProperty:RoslynTargetsPath", "-p:BuildProjectReferences=false",
            "-p:ProvideCommandLineArgs=true", "-p:SkipCompilerExecution=true", .. s_lenient]);
        using JsonDocument document = JsonDocument.Parse(answer);
        _compiler = Path.Combine(document.RootElement.GetProperty("Properties").GetProperty("RoslynTargetsPath").GetString()!, "bincore", "csc.dll");
        string[] arguments = [.. document.RootElement.GetProperty("Items").GetProperty("CscCommandLineArgs").EnumerateArray().Select(a => a.GetProperty("Identity").GetString()!)];
        if (arguments.FirstOrDefault(a => a.StartsWith("/out:", StringComparison.Ordinal)) is not string output)
        {
            throw new HarnessException($"MSBuild gives no command line for src/{project}");
        }

        Output = Path.Combine(_directory, output["/out:".Length..].Trim('"'));
        _response = Path.Combine(_directory, "compile.rsp");
        File.WriteAllLines(_response, arguments.Where(a => a != "/noconfig"));
    }

    /// <summary>The program's dll.</summary>
    public string Output { get; }

    public void Compile() => Dotnet("compiler", "exec", _compiler, "/noconfig", "@" + _response);

    private string Dotnet(string what, params string[] arguments)
    {
        CommandResult result = Command.Run(["env", "-C", _directory, "MSBUILDDISABLENODEREUSE=1", "UseSharedCompilation=false", "dotnet", .. arguments], timeout: s_limit);
        return result.Ok ? result.Output : throw new HarnessException($"{what} of {_directory} failed:\n{result.Output}{result.Error}");
    }
}
