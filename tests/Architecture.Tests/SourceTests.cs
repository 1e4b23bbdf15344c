using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Architecture.Tests;

/// <summary>House rules that a machine can watch.</summary>
public sealed class SourceTests
{
    private const int LongestFile = 650;

    [Fact]
    public void NoFileIsTooLongToRead()
    {
        string[] folders = ["src", "tests", "bench", "bpf", "demo", "lab"];
        IEnumerable<string> tooLong = folders
            .SelectMany(f => Repository.Files(f, ".cs", ".c", ".h", ".proto"))
            .Select(f => (File: f, Lines: File.ReadLines(Path.Combine(Repository.Root, f)).Count()))
            .Where(f => f.Lines > LongestFile)
            .Select(f => $"{f.File} ({f.Lines} lines)");
        Assert.Empty(tooLong);
    }

    [Fact]
    public void EveryReasonIsDocumented()
    {
        string path = Path.Combine(Repository.Root, "docs/features/exceptions.md");
        string[] documented = [.. File.ReadLines(path).Where(l => l.StartsWith("| `", StringComparison.Ordinal)).Select(l => l.Split('`')[1])];
        string[] reasons =
        [
            .. Enum.GetValues<PuntReason>().Where(r => r != PuntReason.Count).Select(ReasonNames.Of),
            .. Enum.GetValues<DropReason>().Where(r => r != DropReason.Count).Select(ReasonNames.Of),
            .. Enum.GetValues<PassReason>().Where(r => r != PassReason.Count).Select(ReasonNames.Of),
            .. Enum.GetValues<FptunCommand>().Where(c => c is not (FptunCommand.None or FptunCommand.Count)).Select(ReasonNames.Of),
            .. Enum.GetValues<FptunRefusal>().Where(r => r != FptunRefusal.Count).Select(ReasonNames.Of),
            .. Enum.GetValues<FptunOutput>().Where(o => o != FptunOutput.Count).Select(ReasonNames.Of),
        ];
        Assert.Empty(reasons.Except(documented));
        Assert.Empty(documented.Except([.. reasons, "oversize"]));
    }
}
