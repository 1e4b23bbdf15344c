using System.Globalization;

namespace FastPathSync.Differential;

/// <summary>What the command line asks for.</summary>
internal sealed record RunOptions
{
    public const string Usage = """
        usage: ./dev test differential [--seed N] [--cases M] [--epoch E] [--keep-going] [--no-minimise]
               ./dev test differential --mutate [--only NAME]
          --seed N        everything follows from it; random when not given
          --cases M       packets compared (default 400)
          --epoch E       begins with epoch E of the seed: what a reproducer names
          --keep-going    goes on after a mismatch, to find more
          --no-minimise   prints a mismatch as found
          --no-verify     doesn't ask fpctl verify after each change
          --verbose       tells of each round
          --mutate        breaks the product in ten ways and shows that each is found
          --only NAME     this mutation only
        """;

    public int Seed { get; init; }

    public int Cases { get; init; } = 400;

    public int FirstEpoch { get; init; }

    public bool KeepGoing { get; init; }

    public bool Minimise { get; init; } = true;

    /// <summary>Packets alone are to find a mutation, not `fpctl verify`.</summary>
    public bool Verify { get; init; } = true;

    public bool Verbose { get; init; }

    public bool Mutate { get; init; }

    public string? Only { get; init; }

    /// <summary>Where the counts for ./dev are written (Common Test Report Format, as xunit writes it).</summary>
    public string? Report { get; init; }

    public static RunOptions Parse(string[] words)
    {
        RunOptions options = new() { Seed = Random.Shared.Next() };
        for (int i = 0; i < words.Length; i++)
        {
            string Value() => ++i < words.Length ? words[i] : throw new FormatException($"{words[i - 1]} needs a value");
            int Number() => int.TryParse(Value(), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw new FormatException($"{words[i - 1]}: '{words[i]}' is no number");
            options = words[i] switch
            {
                "--seed" => options with { Seed = Number() },
                "--cases" => options with { Cases = Number() },
                "--epoch" => options with { FirstEpoch = Number() },
                "--keep-going" => options with { KeepGoing = true },
                "--no-minimise" => options with { Minimise = false },
                "--no-verify" => options with { Verify = false },
                "--verbose" => options with { Verbose = true },
                "--mutate" => options with { Mutate = true },
                "--only" => options with { Only = Value() },
                "--report" => options with { Report = Value() },
                _ => throw new FormatException($"unknown option '{words[i]}'"),
            };
        }

        return options;
    }
}
