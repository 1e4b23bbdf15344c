namespace FastPathSync.Topology;

/// <summary>Traffic that Linux never sees keeps its neighbours alive; idle ones age as Linux wants.</summary>
public sealed class NeighbourTests(NeighbourTests.Fixture lab) : TopologyTest(lab), IClassFixture<NeighbourTests.Fixture>
{
    public sealed class Fixture : RouterLab
    {
        public Fixture()
        {
            foreach (string link in (ReadOnlySpan<string>)["r1", "r2"])
            {
                Router.Sysctl(($"net.ipv4.neigh.{link}.base_reachable_time_ms", "2000"), ($"net.ipv4.neigh.{link}.gc_stale_time", "3"), ($"net.ipv4.neigh.{link}.delay_first_probe_time", "1"));
            }
        }
    }

    [Fact]
    public void FastPathTrafficKeepsANeighbourAliveAndAnIdleOneAges()
    {
        _ = Product;
        using UdpFlow flow = Lab.StartFlow(rate: 1_000);
        flow.WaitFlowing();
        Router.Run("ping -q -c 1 10.3.0.2");
        List<string> used = [];
        for (int i = 0; i < 24; i++)
        {
            Thread.Sleep(500);
            used.Add(StateOf("10.2.0.2"));
        }

        // STALE lasts until the next round of hitflagsd (2 s) and DELAY 1 s; alive means that it comes back to REACHABLE.
        Assert.True(used.Skip(4).Count(s => s == "REACHABLE") >= 5, $"states of the used neighbour: {string.Join(' ', used)}");
        Assert.Contains("REACHABLE", used.TakeLast(10));
        Wait.Until(() => StateOf("10.3.0.2") is "STALE" or "", TimeSpan.FromSeconds(10), "the idle neighbour ages");
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, report.ToString());
    }

    private string StateOf(string address)
    {
        string[] words = Router.Run($"ip neigh show {address}").Output.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        return words.Length == 0 ? "" : words[^1];
    }
}
