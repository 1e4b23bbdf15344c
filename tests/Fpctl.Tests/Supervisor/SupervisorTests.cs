using System.Diagnostics;
using System.Text.Json;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using static FastPathSync.Fpctl.Tests.Supervisor.FakeInstance;

namespace FastPathSync.Fpctl.Tests.Supervisor;

public sealed unsafe class SupervisorTests
{
    [Fact]
    public void ADaemonThatDiesIsStartedAgainAndCounted()
    {
        using FakeInstance i = new FakeInstance().Daemon("sleeper", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        DaemonView before = i.View("sleeper");

        Kill(before.Pid);

        Eventually(() => i.View("sleeper") is { State: "ready", Restarts: 1 } v && v.Pid != before.Pid, "restarted");
        Assert.Equal(0, i.View("supervisor").Restarts);
    }

    [Fact]
    public void ADaemonThatKeepsDyingIsStartedEverMoreSlowly()
    {
        using FakeInstance i = new FakeInstance();
        string marks = Path.Combine(i.Base, "marks");
        i.Daemon("crasher", $"date +%s%N >> {marks}; exit 7").Start();

        // 50, 100, 200, 400, 800 ms: the sixth start comes 1.55 s after the first, at the earliest.
        Eventually(() => File.Exists(marks) && File.ReadAllLines(marks).Length >= 6, "six starts", 20);
        long[] times = [.. File.ReadAllLines(marks).Select(l => long.Parse(l) / 1_000_000)];
        Assert.True(times[5] - times[0] >= 1500, $"six starts within {times[5] - times[0]} ms");
        for (int n = 1; n < 6; n++)
        {
            Assert.True(times[n] - times[n - 1] >= 50 << (n - 1), $"start {n} came after {times[n] - times[n - 1]} ms");
        }
    }

    [Fact]
    public void TheNextStageWaitsForReadiness()
    {
        using FakeInstance i = new FakeInstance().Daemon("first", "exec sleep 600", notifies: true).Daemon("second", "exec sleep 600", stage: 1).Start();
        Eventually(() => i.View("first").State == "starting", "first started");
        Thread.Sleep(200);
        Assert.Equal(0, i.View("second").Pid);

        i.Notify("first", "READY=1\nSTATUS=listening");

        Eventually(() => i.Phase == "running" && i.View("second").State == "ready", "second stage");
    }

    [Fact]
    public void ADaemonThatCannotStartFailsTheStartWithItsOwnLine()
    {
        using FakeInstance i = new FakeInstance().Daemon("first", "sleep 1; exit 1", notifies: true).Start();
        Eventually(() => i.View("first").State == "starting", "started");

        i.Notify("first", "STATUS=port 'r0': no such interface\nERRNO=19");

        Eventually(() => i.Phase == "failed", "failed");
        Assert.Equal("port 'r0': no such interface", i.Failure);
        Assert.Equal("failed", i.View("first").State);
    }

    [Fact]
    public void AKilledSupervisorIsReplacedWithoutTouchingTheDaemons()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Daemon("two", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        (int one, int two, int supervisor) = (i.View("one").Pid, i.View("two").Pid, i.View("supervisor").Pid);

        Kill(supervisor);
        i.Supervise(adopt: true);

        Eventually(() => i.View("supervisor") is { Restarts: 1 } v && v.Pid != supervisor, "adopted");
        Assert.Equal(one, i.View("one").Pid);
        Assert.Equal(two, i.View("two").Pid);
        Assert.Equal(0, i.View("one").Restarts);

        // It watches daemons that are not its children just as well.
        Kill(one);
        Eventually(() => i.View("one") is { State: "ready", Restarts: 1 }, "an adopted daemon is started again");
    }

    [Fact]
    public void ADaemonThatDiedWithoutSupervisorIsStartedByTheNext()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        int one = i.View("one").Pid;
        Kill(i.View("supervisor").Pid);
        Kill(one);

        i.Supervise(adopt: true);

        Eventually(() => i.View("one") is { State: "ready", Restarts: 1 } v && v.Pid != one, "started again");
    }

    [Fact]
    public void ASecondSupervisorGoesAwayAtOnce()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        int supervisor = i.View("supervisor").Pid;

        Process second = i.Supervise(adopt: true);

        Assert.True(second.WaitForExit(5000));
        Assert.Equal(0, second.ExitCode);
        Assert.True(IsAlive(supervisor));
        Assert.Equal(supervisor, i.View("supervisor").Pid);
    }

    [Fact]
    public void SegmentsOutliveTheirWriterAndComeBackToANewSupervisor()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        using Segment writers = Segment.Create("vrf", SegmentKind.Vrf, 1, 4096);
        writers.Body[0] = 42;
        Assert.Null(i.Store.TryGetSegment("vrf", SegmentKind.Vrf, writable: false));
        i.Store.PutSegment(writers);
        using (Segment read = i.Store.TryGetSegment("vrf", SegmentKind.Vrf, writable: false)!)
        {
            Assert.Equal(42, read.Body[0]);
        }

        Kill(i.View("supervisor").Pid);
        i.Supervise(adopt: true);
        Eventually(() => i.View("supervisor").Restarts == 1, "adopted");

        Assert.Null(i.Store.TryGetSegment("vrf", SegmentKind.Vrf, writable: false));
        i.Store.KeepSegment(writers);
        i.Store.KeepSegment(writers); // again: it has it, which is no error
        using Segment again = i.Store.TryGetSegment("vrf", SegmentKind.Vrf, writable: false)!;
        Assert.Equal(42, again.Body[0]);
    }

    [Fact]
    public void RubbishOnTheSocketHarmsNobody()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        string path = Path.Combine(i.InstanceDirectory, "supervisor.sock");
        Random random = new(7);
        for (int n = 0; n < 300; n++)
        {
            byte[] packet = new byte[1 + random.Next(200)];
            random.NextBytes(packet);
            if (packet[0] == 16)
            {
                continue; // stop
            }

            using FileDescriptor socket = UnixSocket.Connect(path);
            UnixSocket.Send(socket, packet);
        }

        i.Notify("one", "\0\0=\n=\nERRNO=x\nREADY");
        Assert.Null(i.Store.TryGetSegment("nothing", SegmentKind.Vrf, writable: false));
        Assert.Equal("running", i.Phase);
    }

    [Fact]
    public void StopLeavesNothing()
    {
        // The second ignores SIGTERM (what is ignored stays so through exec): it has to be killed, after 3 s.
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Daemon("deaf", "trap '' TERM; exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        int[] pids = [i.View("one").Pid, i.View("deaf").Pid, i.View("supervisor").Pid];

        (int status, _, string error) = i.Fpctl("stop");

        Assert.True(status == 0, error);
        Assert.False(Directory.Exists(i.InstanceDirectory));
        Eventually(() => !pids.Any(IsAlive), "all gone", 2);
        (status, _, error) = i.Fpctl("stop");
        Assert.Equal(4, status);
        Assert.Contains("'test' is not running", error, StringComparison.Ordinal);
    }

    [Fact]
    public void StopWorksWithoutASupervisor()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        int one = i.View("one").Pid;
        Kill(i.View("supervisor").Pid);

        (int status, _, string error) = i.Fpctl("stop");

        Assert.True(status == 0, error);
        Assert.False(IsAlive(one));
        Assert.False(Directory.Exists(i.InstanceDirectory));
    }

    [Fact]
    public void StopDoesNotTouchAProcessThatHasTakenAPid()
    {
        using FakeInstance i = new();
        using Process bystander = Process.Start("/bin/sleep", "600");
        string daemons = $$"""
            {"phase":"running","failure":null,"daemons":[{"name":"one","pid":{{bystander.Id}},"startTime":1,"state":"ready",
             "since":"2026-01-01T00:00:00+00:00","restarts":0,"lastExit":null,"text":null}]}
            """;
        File.WriteAllText(Path.Combine(i.InstanceDirectory, "daemons.json"), daemons);

        (int status, _, _) = i.Fpctl("stop");

        Assert.Equal(4, status);
        Assert.False(bystander.HasExited);
        Assert.False(Directory.Exists(i.InstanceDirectory)); // what was left behind is gone
        bystander.Kill();
    }

    [Fact]
    public void StatusTellsAHaltedDaemonAndHasTheFixedShape()
    {
        using FakeInstance i = new FakeInstance().Daemon("one", "exec sleep 600").Start();
        Eventually(() => i.Phase == "running", "running");
        const int SIGSTOP = 19;
        Assert.Equal(0, Libc.kill(i.View("one").Pid, SIGSTOP));

        (int status, string output, _) = i.Fpctl("--json", "status");

        Assert.Equal(3, status);
        JsonElement json = JsonDocument.Parse(output).RootElement;
        Assert.Equal("test", json.GetProperty("instance").GetString());
        Assert.Equal("degraded", json.GetProperty("state").GetString());
        Assert.False(json.GetProperty("synced").GetBoolean());
        JsonElement one = json.GetProperty("daemons").EnumerateArray().Single(d => d.GetProperty("name").GetString() == "one");
        Assert.Equal("halted", one.GetProperty("state").GetString());
        Assert.Equal(0, one.GetProperty("restarts").GetInt32());
        Assert.True(one.GetProperty("pid").GetInt32() > 0);
        Assert.True(one.GetProperty("since").GetDateTimeOffset() <= DateTimeOffset.UtcNow);
        Assert.Equal(0, json.GetProperty("umem").GetProperty("lost").GetInt32());
        Assert.Equal(JsonValueKind.Array, json.GetProperty("ports").ValueKind);
        Assert.Equal(JsonValueKind.Array, json.GetProperty("demotions").ValueKind);
        Assert.Equal(JsonValueKind.Array, json.GetProperty("bypassed").ValueKind);
    }

    [Fact]
    public void StatusOfWhatIsNotRunningIsStillJson()
    {
        using FakeInstance i = new();

        (int status, string output, _) = i.Fpctl("status", "--json");

        Assert.Equal(4, status);
        Assert.Equal("stopped", JsonDocument.Parse(output).RootElement.GetProperty("state").GetString());
    }

    [Theory]
    [InlineData(2, "no port given", "start")]
    [InlineData(2, "given twice", "start", "--port", "sup-none0", "--port", "sup-none0")]
    [InlineData(1, "no such interface", "start", "--port", "sup-none0")]
    [InlineData(1, "no VRF", "start", "--port", "sup-novrf/eth0")]
    [InlineData(1, "loopback", "start", "--port", "lo")]
    [InlineData(2, "must be one of", "start", "--port", "lo", "--mode", "fast")]
    [InlineData(2, "--workers 0", "start", "--port", "lo", "--workers", "0")]
    [InlineData(2, "Unrecognized", "status", "--nonsense")]
    public void BadUsageGivesOneLineAndLeavesNothing(int expected, string text, params string[] arguments)
    {
        using FakeInstance i = new();
        Directory.Delete(i.InstanceDirectory);

        (int status, string output, string error) = i.Fpctl(arguments);

        Assert.Equal((expected, ""), (status, output));
        Assert.Contains(text, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
        Assert.False(Directory.Exists(i.InstanceDirectory));
    }
}
