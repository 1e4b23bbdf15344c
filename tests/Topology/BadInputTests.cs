namespace FastPathSync.Topology;

/// <summary>What can't be started says so in one line (what, why, how to mend) and leaves nothing behind.</summary>
public sealed class BadInputTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Fact]
    public void AMissingInterface() => Refuses("--port r0 --port nosuch0", "nosuch0");

    [Fact]
    public void AnInterfaceInAnotherNamespace() => Refuses("--port r0 --port s0", "s0");

    [Fact]
    public void APortGivenTwice() => Refuses("--port r0 --port r0", "r0", exitCodes: [1, 2]);

    [Fact]
    public void NoPortAtAll() => Refuses("", "--port", exitCodes: [1, 2]);

    [Fact]
    public void AnUnknownMode() => Refuses("--port r0 --mode turbo", "turbo", exitCodes: [2]);

    [Fact]
    public void AVethWhosePeerHasMoreQueues()
    {
        Lab.Lab.Link(Router, "q0", Client, "q1", queuesA: 1, queuesB: 4);
        Refuses("--port r0 --port q0 --mode native", "q0");
        Router.Run("ip link del q0");
    }

    [Fact]
    public void AnMtuOverTheFrameSize()
    {
        Lab.Lab.Link(Router, "m0", Client, "m1", mtu: 9000);
        Refuses("--port r0 --port m0 --mode native", "m0");
        Router.Run("ip link del m0");
    }

    [Fact]
    public void NoCapabilities()
    {
        Require.Tools("setpriv");
        Product product = new(Router);
        Refused(product, product.FpctlAs(["setpriv", "--inh-caps=-all", "--bounding-set=-all"], "start --port r0 --port r1"), "CAP_", [1]);
    }

    [Fact]
    public void AnotherXdpProgramAlreadyAttached()
    {
        Require.Tools("clang");
        string source = Path.GetTempFileName() + ".c", target = source + ".o";
        try
        {
            File.WriteAllText(source, "__attribute__((section(\"xdp\"), used)) int pass(void *c) { return 2; }\nchar _license[] __attribute__((section(\"license\"))) = \"GPL\";\n");
            Lab.Lab.Host($"clang -O2 -target bpf -c {source} -o {target}").MustSucceed();
            Router.Run($"ip link set dev r0 xdp obj {target} sec xdp");
            try
            {
                Product product = new(Router);
                CommandResult result = product.Fpctl("start --port r0 --port r1");
                OneLine(result, "r0", [1]);
                Assert.Contains("prog/xdp", Router.Run("ip -d link show r0").Output, StringComparison.Ordinal);
                Assert.DoesNotContain("prog/xdp", Router.Run("ip -d link show r1").Output, StringComparison.Ordinal);
                Assert.Empty(Reaper.ProcessesOf(product.Instance));
                Assert.False(Directory.Exists(product.Directory));
            }
            finally
            {
                Router.Run("ip link set dev r0 xdp off");
            }
        }
        finally
        {
            File.Delete(source);
            File.Delete(target);
        }
    }

    [Fact]
    public void AnInstanceAlreadyRunningGoesOnUndisturbed()
    {
        Lab.WarmUp();
        Product product = new(Router);
        product.Start("--port r0 --port r1");
        int[] pids = [.. product.Status().Daemons.Select(d => d.Pid)];
        OneLine(product.Fpctl("start --port r0 --port r1"), product.Instance, [1]);
        Assert.Equal(pids, product.Status().Daemons.Select(d => d.Pid));
        product.Stop();
        product.AssertNothingLeft();
    }

    [Fact]
    public void AStaleInstanceDirectoryIsTakenOver()
    {
        Lab.WarmUp();
        Product product = new(Router);
        product.Start("--port r0 --port r1");

        // As a power loss leaves it: files, and no process.
        Reaper.KillInstance(product.Instance);
        Assert.True(Directory.Exists(product.Directory));
        product.AssertNoPrograms();
        product.Start("--port r0 --port r1");
        Assert.Equal("healthy", product.Status().State);
        product.Stop();
        product.AssertNothingLeft();
    }

    [Fact]
    public void StopAndStatusOfWhatDoesNotRun()
    {
        Product product = new(Router);
        OneLine(product.Fpctl("stop"), product.Instance, [1, 4]);
        Assert.Equal(4, product.Fpctl("status").ExitCode);
    }

    [Fact]
    public void AnUnwritableDirectory()
    {
        // Root may write anywhere but where there can be no directory: a file stands in its place.
        Product product = new(Router);
        Directory.CreateDirectory(Path.GetDirectoryName(product.Directory)!);
        File.WriteAllText(product.Directory, "");
        try
        {
            OneLine(product.Fpctl("start --port r0 --port r1"), product.Directory, [1]);
            Assert.Empty(Reaper.ProcessesOf(product.Instance));
            product.AssertNoPrograms();
        }
        finally
        {
            File.Delete(product.Directory);
        }
    }

    private void Refuses(string options, string names, int[]? exitCodes = null)
    {
        Product product = new(Router);
        Refused(product, product.Fpctl($"start {options}"), names, exitCodes ?? [1]);
    }

    private static void Refused(Product product, CommandResult result, string names, int[] exitCodes)
    {
        OneLine(result, names, exitCodes);
        product.AssertNothingLeft();
    }

    private static void OneLine(CommandResult result, string names, int[] exitCodes)
    {
        Assert.True(exitCodes.Contains(result.ExitCode), $"{result.CommandLine}: exit code {result.ExitCode}, expected {string.Join(" or ", exitCodes)}: {result.Error.Trim()}");
        string line = Assert.Single(result.ErrorLines);
        Assert.Contains(names, line, StringComparison.Ordinal);
    }
}
