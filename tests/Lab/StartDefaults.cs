namespace FastPathSync.Labs;

/// <summary>
/// How the product attaches and punts in tests that don't choose it themselves: FPS_MODE and FPS_PUNT in the environment, which
/// `./dev test --mode generic --punt tap` sets.
/// </summary>
public static class StartDefaults
{
    private static readonly (string Option, string? Value)[] s_defaults = [("--mode", Value("FPS_MODE")), ("--punt", Value("FPS_PUNT"))];

    public static bool IsGeneric { get; } = s_defaults[0].Value == "generic";

    public static bool PuntsThroughTap { get; } = s_defaults[1].Value == "tap";

    /// <summary>The arguments of fpctl, with what a `start` doesn't say itself.</summary>
    public static string Complete(string arguments)
    {
        if (!arguments.StartsWith("start ", StringComparison.Ordinal))
        {
            return arguments;
        }

        IEnumerable<string> missing = s_defaults
            .Where(d => d.Value is not null && !arguments.Contains($"{d.Option} ", StringComparison.Ordinal))
            .Select(d => $" {d.Option} {d.Value}");
        return arguments + string.Concat(missing);
    }

    private static string? Value(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;
}
