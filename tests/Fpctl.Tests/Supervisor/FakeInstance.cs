using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using FastPathSync.SharedMemory;

namespace FastPathSync.Fpctl.Tests.Supervisor;

/// <summary>
/// The real supervisor (the fpctl program) over shell commands as daemons, in a temporary directory. What is told and
/// asked goes over its real sockets and files.
/// </summary>
internal sealed class FakeInstance : IDisposable
{
    public const string Name = "test";
    private static readonly string s_fpctl = Path.Combine(AppContext.BaseDirectory, "fpctl");
    private readonly List<(string Name, string Command, int Stage, bool Notifies)> _daemons = [];
    private readonly List<Process> _supervisors = [];

    public FakeInstance() => Directory.CreateDirectory(InstanceDirectory);

    public string Base { get; } = Directory.CreateTempSubdirectory("fps-sup-").FullName;

    public string InstanceDirectory => Path.Combine(Base, Name);

    public SegmentStore Store => new(Path.Combine(InstanceDirectory, "supervisor.sock"));

    /// <param name="command">For /bin/sh; it should end in exec, so that the pid is the program's.</param>
    /// <param name="notifies">It counts as ready only after Notify.</param>
    public FakeInstance Daemon(string name, string command, int stage = 0, bool notifies = false)
    {
        _daemons.Add((name, command, stage, notifies));
        return this;
    }

    public FakeInstance Start()
    {
        object[] daemons = [.. _daemons.Select(d => new { name = d.Name, program = "/bin/sh", arguments = new[] { "-c", d.Command }, stage = d.Stage, stopFirst = false, notifies = d.Notifies })];
        var plan = new { schema = SegmentHeader.CurrentLayoutVersion, instance = Name, networkNamespace = 1, started = DateTimeOffset.UtcNow, ports = Array.Empty<string>(), daemons };
        File.WriteAllText(Path.Combine(InstanceDirectory, "instance.json"), JsonSerializer.Serialize(plan));
        Supervise();
        return this;
    }

    /// <summary>Starts a supervisor, as `fpctl start` (or, adopting, as a daemon) does.</summary>
    public Process Supervise(bool adopt = false)
    {
        Process p = Launch(["supervise", .. adopt ? (string[])["--adopt"] : [], "--instance", Name, "--directory", InstanceDirectory]);
        _supervisors.Add(p);
        return p;
    }

    public (int Status, string Output, string Error) Fpctl(params string[] arguments)
    {
        using Process p = Launch([.. arguments, "--instance", Name]);
        Task<string> error = p.StandardError.ReadToEndAsync();
        string output = p.StandardOutput.ReadToEnd();
        p.WaitForExit();
        return (p.ExitCode, output, error.Result);
    }

    public DaemonView View(string daemon) =>
        DaemonFile()?.RootElement.GetProperty("daemons").EnumerateArray().Where(d => d.GetProperty("name").GetString() == daemon)
            .Select(d => new DaemonView(d.GetProperty("pid").GetInt32(), d.GetProperty("state").GetString()!, d.GetProperty("restarts").GetInt32()))
            .FirstOrDefault() ?? new DaemonView(0, "unknown", 0);

    public string? Phase => DaemonFile()?.RootElement.GetProperty("phase").GetString();

    public string? Failure => DaemonFile()?.RootElement.GetProperty("failure").GetString();

    /// <summary>Says something in a daemon's name, as sd_notify would.</summary>
    public void Notify(string daemon, string text)
    {
        using Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        socket.SendTo(Encoding.UTF8.GetBytes($"{text}\nMAINPID={View(daemon).Pid}\n"), new UnixDomainSocketEndPoint(Path.Combine(InstanceDirectory, "notify.sock")));
    }

    public static void Kill(int pid)
    {
        using Process p = Process.GetProcessById(pid);
        p.Kill();
    }

    public static bool IsAlive(int pid) =>
        File.Exists($"/proc/{pid}/stat") && !File.ReadAllText($"/proc/{pid}/stat").Split(") ")[1].StartsWith('Z');

    public static void Eventually(Func<bool> condition, string what, double seconds = 10)
    {
        Stopwatch clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed.TotalSeconds < seconds, $"not within {seconds} s: {what}");
            Thread.Sleep(10);
        }
    }

    public void Dispose()
    {
        if (Directory.Exists(InstanceDirectory))
        {
            Fpctl("stop");
        }

        foreach (Process p in _supervisors)
        {
            p.WaitForExit(5000);
            p.Dispose();
        }

        if (Directory.Exists(Base))
        {
            Directory.Delete(Base, recursive: true);
        }
    }

    private JsonDocument? DaemonFile()
    {
        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(Path.Combine(InstanceDirectory, "daemons.json")));
        }
        catch (IOException)
        {
            return null;
        }
    }

    private Process Launch(string[] arguments)
    {
        ProcessStartInfo start = new(s_fpctl, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["FASTPATHSYNC_RUN"] = Base;
        return Process.Start(start)!;
    }
}

internal sealed record DaemonView(int Pid, string State, int Restarts);
