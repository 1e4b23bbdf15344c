using System.Diagnostics;
using System.Text;

namespace FastPathSync.Labs;

/// <summary>What a command left: its exit code and both its outputs.</summary>
public sealed record CommandResult(string CommandLine, int ExitCode, string Output, string Error)
{
    public bool Ok => ExitCode == 0;

    /// <summary>Standard error without its line ends, one element a line, empty lines left out.</summary>
    public string[] ErrorLines => Error.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    public CommandResult MustSucceed() =>
        Ok ? this : throw new InvalidOperationException($"{CommandLine}\n  exit code {ExitCode}\n  stdout: {Output.Trim()}\n  stderr: {Error.Trim()}");
}

/// <summary>Runs programs, without a shell between.</summary>
public static class Command
{
    private static readonly TimeSpan s_defaultTimeout = TimeSpan.FromSeconds(30);

    /// <summary>How long a program's children may hold its outputs open after it has ended.</summary>
    private static readonly TimeSpan s_outputGrace = TimeSpan.FromSeconds(2);

    public static CommandResult Run(IReadOnlyList<string> words, string? input = null, TimeSpan? timeout = null)
    {
        using Process process = Start(words, input is not null);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        if (input is not null)
        {
            process.StandardInput.Write(input);
            process.StandardInput.Close();
        }

        string line = Join(words);
        TimeSpan limit = timeout ?? s_defaultTimeout;
        if (!process.WaitForExit(limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{line}: not finished after {limit.TotalSeconds:0} s; stderr so far: {TextOf(error)}");
        }

        return Task.WaitAll([output, error], s_outputGrace)
            ? new CommandResult(line, process.ExitCode, output.Result, error.Result)
            : throw new InvalidOperationException($"{line}: it has ended, but a child of it keeps its standard output or error open");
    }

    /// <summary>The process, with its outputs redirected.</summary>
    public static Process Start(IReadOnlyList<string> words, bool redirectInput = false)
    {
        ProcessStartInfo info = new(words[0])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = redirectInput,
        };
        foreach (string word in words.Skip(1))
        {
            info.ArgumentList.Add(word);
        }

        return Process.Start(info) ?? throw new InvalidOperationException($"{words[0]}: not started");
    }

    /// <summary>Splits a command line at blanks; single and double quotes hold words together.</summary>
    public static List<string> Split(string line)
    {
        List<string> words = [];
        StringBuilder word = new();
        bool inWord = false;
        char quote = '\0';
        foreach (char c in line)
        {
            if (quote != '\0')
            {
                if (c == quote)
                {
                    quote = '\0';
                }
                else
                {
                    word.Append(c);
                }
            }
            else if (c is '\'' or '"')
            {
                quote = c;
                inWord = true;
            }
            else if (char.IsWhiteSpace(c))
            {
                if (inWord)
                {
                    words.Add(word.ToString());
                    word.Clear();
                    inWord = false;
                }
            }
            else
            {
                word.Append(c);
                inWord = true;
            }
        }

        if (inWord)
        {
            words.Add(word.ToString());
        }

        return words;
    }

    /// <summary>The command line as one would type it.</summary>
    public static string Join(IEnumerable<string> words) =>
        string.Join(' ', words.Select(w => w.Length == 0 || w.Any(c => char.IsWhiteSpace(c) || "'\"$;&|<>(){}*?".Contains(c)) ? $"'{w.Replace("'", "'\\''", StringComparison.Ordinal)}'" : w));

    public static bool Exists(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(d => d.Length > 0 && File.Exists(Path.Combine(d, program)));

    private static string TextOf(Task<string> text) => text.Wait(s_outputGrace) ? text.Result.Trim() : "";
}
