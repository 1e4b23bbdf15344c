using System.Diagnostics;

namespace FastPathSync.FastPath.Tests.Bpf;

/// <summary>Compiles a C program against a header of bpf/ and runs it: what C says about its own layout.</summary>
internal static class CHeader
{
    /// <summary>The values of C expressions, in order.</summary>
    public static long[] Evaluate(string header, params string[] expressions)
    {
        string directory = Directory.CreateTempSubdirectory("fp-c-").FullName;
        try
        {
            string source = Path.Combine(directory, "t.c"), program = Path.Combine(directory, "t");
            File.WriteAllText(source, $"#include <stddef.h>\n#include <stdio.h>\n#include \"{header}\"\nint main(void) {{\n"
                + string.Concat(expressions.Select(e => $"printf(\"%lld\\n\", (long long)({e}));\n")) + "return 0;\n}\n");
            Run("clang", "-I", Path.Combine(Root(), "bpf"), "-o", program, source);
            return [.. Run(program).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(long.Parse)];
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Root()
    {
        string? d = AppContext.BaseDirectory;
        while (d is not null && !File.Exists(Path.Combine(d, "FastPathSync.sln")))
        {
            d = Path.GetDirectoryName(d);
        }

        Assert.SkipWhen(d is null, "not run from inside the repository");
        return d!;
    }

    private static string Run(string program, params string[] arguments)
    {
        using Process p = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        string output = p.StandardOutput.ReadToEnd(), error = p.StandardError.ReadToEnd();
        p.WaitForExit();
        Assert.True(p.ExitCode == 0, error);
        return output;
    }
}
