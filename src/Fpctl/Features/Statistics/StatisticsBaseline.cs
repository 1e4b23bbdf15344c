using System.Text.Json;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>
/// What `stats --reset` remembers in the instance's directory. The counters themselves have one writer each, which isn't
/// fpctl: nobody clears them.
/// </summary>
internal sealed class StatisticsBaseline(string path)
{
    public const string FileName = "stats-baseline.json";

    public void Store(StatisticsSnapshot snapshot)
    {
        string temporary = $"{path}.{Environment.ProcessId}";
        File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(snapshot, FpctlJson.Default.StatisticsSnapshot));
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>The snapshot less the baseline; the snapshot itself when there is no (readable) baseline.</summary>
    public StatisticsSnapshot Apply(StatisticsSnapshot snapshot)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), FpctlJson.Default.StatisticsSnapshot) is StatisticsSnapshot baseline
                ? snapshot.Since(baseline) : snapshot;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return snapshot;
        }
    }
}
