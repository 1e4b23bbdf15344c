using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>One frame again and again, as fast as a CPU sends it or slower.</summary>
public sealed class Flood : IDisposable
{
    private readonly BackgroundProcess _generator;

    private Flood(BackgroundProcess generator) => _generator = generator;

    /// <param name="rate">Frames per second; null: all that go.</param>
    public static Flood Start(LabNamespace from, string device, byte[] frame, int milliseconds, int? rate = null) =>
        new(from.Start($"{Path.Combine(Repository.Out, "lab", "l2gen")} --cpu 0 --for {milliseconds}{(rate is int r ? $" --rate {r}" : "")} --frame {Convert.ToHexStringLower(frame)} {device}"));

    public bool IsOver => _generator.HasExited;

    /// <summary>What was sent, and in how long, when it is over.</summary>
    public (double Packets, double Seconds) Finish()
    {
        using JsonDocument json = JsonDocument.Parse(Output());
        double sent = json.RootElement.GetProperty("sent").GetDouble();
        return (sent, sent / json.RootElement.GetProperty("pps").GetDouble());
    }

    public void Dispose() => _generator.Dispose();

    private string Output()
    {
        Wait.Until(() => _generator is { HasExited: true, Output.Length: > 0 }, TimeSpan.FromSeconds(100), "the flood is over");
        return _generator.Output;
    }
}
