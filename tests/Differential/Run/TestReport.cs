using System.Text.Json;

namespace FastPathSync.Differential;

/// <summary>What ./dev counts: a report as xunit writes it (Common Test Report Format, ctrf.io).</summary>
internal static class TestReport
{
    public static void Write(string? path, IReadOnlyList<(string Name, bool Passed)> tests)
    {
        if (path is null)
        {
            return;
        }

        File.WriteAllText(path, JsonSerializer.Serialize(new
        {
            results = new
            {
                tool = new { name = "differential" },
                summary = new { tests = tests.Count, passed = tests.Count(t => t.Passed), failed = tests.Count(t => !t.Passed), skipped = 0, pending = 0, other = 0 },
                tests = tests.Select(t => new { name = t.Name, status = t.Passed ? "passed" : "failed" }),
            },
        }));
    }
}
