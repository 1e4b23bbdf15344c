namespace FastPathSync.Fpctl.Cli;

/// <summary>
/// A command that can't do what was asked: one line on stderr that names the object, the cause and the mend.
/// </summary>
internal sealed class CliError(string line, int exitStatus = CliError.Failed) : Exception(line)
{
    public const int Failed = 1, Usage = 2, Degraded = 3, NotRunning = 4, Different = 5;

    public int ExitStatus { get; } = exitStatus;
}
