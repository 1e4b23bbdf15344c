using System.Text.Json;
using System.Text.Json.Serialization;
using FastPathSync.Hosting;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>One daemon as it is to be run.</summary>
/// <param name="Stage">Daemons of a stage are started at once, when all of the stage before are ready (first start only).</param>
/// <param name="StopFirst">Stopped, and waited for, before the others.</param>
/// <param name="Notifies">Sends READY=1; otherwise it counts as ready once started.</param>
/// <param name="TakesPorts">The plan's ports follow its arguments.</param>
internal sealed record DaemonPlan(
    string Name, string Program, IReadOnlyList<string> Arguments, int Stage, bool StopFirst = false, bool Notifies = true, bool TakesPorts = false);

/// <summary>
/// instance.json: what `fpctl start` was asked for, and what the supervisor is to run. Written by `fpctl start`, and by the
/// supervisor when ports are added or deleted.
/// </summary>
/// <param name="Schema">The layout version of shared memory (SegmentHeader.CurrentLayoutVersion) of the programs that were started.</param>
/// <param name="NetworkNamespace">Inode of /proc/self/ns/net.</param>
/// <param name="Ports">[VRF/]IF, by PortId; empty where an id is free.</param>
internal sealed record InstancePlan(
    uint Schema,
    string Instance,
    ulong NetworkNamespace,
    DateTimeOffset Started,
    IReadOnlyList<string> Ports,
    IReadOnlyList<DaemonPlan> Daemons)
{
    /// <summary>With a port more, under the lowest id that is free.</summary>
    public InstancePlan With(string port)
    {
        List<string> ports = [.. Ports];
        int free = ports.IndexOf("");
        if (free < 0)
        {
            ports.Add(port);
        }
        else
        {
            ports[free] = port;
        }

        return this with { Ports = ports };
    }

    /// <summary>Without a port; the others keep their ids.</summary>
    public InstancePlan Without(string port)
    {
        List<string> ports = [.. Ports.Select(p => p == port ? "" : p)];
        while (ports is [.., ""])
        {
            ports.RemoveAt(ports.Count - 1);
        }

        return this with { Ports = ports };
    }

    public string? NameOf(int port) => port < Ports.Count ? Ports[port] : null;

    public IEnumerable<(int Id, string Name)> Named() => Ports.Index().Where(p => p.Item.Length > 0);

    public IReadOnlyList<string> ArgumentsOf(DaemonPlan daemon) =>
        daemon.TakesPorts ? [.. daemon.Arguments, .. Ports.SelectMany(p => new[] { "--port", p })] : daemon.Arguments;

    public void Write(Instance instance) =>
        AtomicFile.Write(instance.InstanceFile, JsonSerializer.SerializeToUtf8Bytes(this, SupervisorJson.Default.InstancePlan));

    /// <summary>Null when there is none, or what is there can't be read.</summary>
    public static InstancePlan? TryRead(Instance instance) => AtomicFile.TryRead(instance.InstanceFile, SupervisorJson.Default.InstancePlan);
}

[JsonConverter(typeof(JsonStringEnumConverter<DaemonState>))]
internal enum DaemonState
{
    [JsonStringEnumMemberName("stopped")]
    Stopped,

    /// <summary>Running, not ready yet.</summary>
    [JsonStringEnumMemberName("starting")]
    Starting,

    [JsonStringEnumMemberName("ready")]
    Ready,

    /// <summary>Dead, waiting for its backoff to pass.</summary>
    [JsonStringEnumMemberName("restarting")]
    Restarting,

    /// <summary>Never came up when the instance was started.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,
}

[JsonConverter(typeof(JsonStringEnumConverter<SupervisorPhase>))]
internal enum SupervisorPhase
{
    /// <summary>The first start; the stages come up one after another.</summary>
    [JsonStringEnumMemberName("starting")]
    Starting,

    [JsonStringEnumMemberName("running")]
    Running,

    /// <summary>A daemon could not start: Failure says why. Whoever started the instance stops it.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,

    [JsonStringEnumMemberName("stopping")]
    Stopping,
}

/// <param name="StartTime">With the pid it names the process for good (ProcessIdentity).</param>
/// <param name="LastExit">How it ended last, null when it never has.</param>
/// <param name="Text">Its own last word on how it does (STATUS=).</param>
internal sealed record DaemonRecord(
    string Name,
    int Pid,
    ulong StartTime,
    DaemonState State,
    DateTimeOffset Since,
    int Restarts,
    string? LastExit,
    string? Text);

/// <summary>daemons.json: how everything does, the supervisor included. Written by the supervisor at each change.</summary>
internal sealed record DaemonList(SupervisorPhase Phase, string? Failure, IReadOnlyList<DaemonRecord> Daemons)
{
    public void Write(Instance instance) =>
        AtomicFile.Write(instance.DaemonsFile, JsonSerializer.SerializeToUtf8Bytes(this, SupervisorJson.Default.DaemonList));

    public static DaemonList? TryRead(Instance instance) => AtomicFile.TryRead(instance.DaemonsFile, SupervisorJson.Default.DaemonList);
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(InstancePlan))]
[JsonSerializable(typeof(DaemonList))]
internal sealed partial class SupervisorJson : JsonSerializerContext;

/// <summary>Files that readers see whole or not at all.</summary>
internal static class AtomicFile
{
    public static void Write(string path, byte[] bytes)
    {
        string temporary = path + ".new";
        File.WriteAllBytes(temporary, bytes);
        File.Move(temporary, path, overwrite: true);
    }

    public static T? TryRead<T>(string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), type);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }
}
