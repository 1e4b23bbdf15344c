using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastPathSync.CacheManager.Tests.Demotion;

/// <summary>What cannot be seen is not bypassed.</summary>
public sealed class FailingProbeTests
{
    [Fact]
    public void ProbeThatCannotLookDemotesTheVrfUntilItCan()
    {
        FailingProbe probe = new(new LinuxException(Errno.EPERM, "open", "nothing")) { Failing = true };
        Sink sink = new();
        using DemotionMonitor monitor = new(NullLogger.Instance, [probe]);
        monitor.Start(sink, () => []);
        Assert.True(SpinWait.SpinUntil(() => sink.Last == "raise detector failing Vrf", 1000), sink.Last);
        probe.Failing = false;
        Assert.True(SpinWait.SpinUntil(() => sink.Last == "end detector failing", 3000), sink.Last);
    }

    [Fact]
    public void WhatTheKernelLacksIsNoDemotion()
    {
        FailingProbe probe = new(new NotInKernelException("no such thing")) { Failing = true };
        Sink sink = new();
        using DemotionMonitor monitor = new(NullLogger.Instance, [probe]);
        monitor.Start(sink, () => []);
        Thread.Sleep(100);
        Assert.Equal("", sink.Last);
        Assert.Equal(1, probe.Opened);
    }

    [Fact]
    public void AProbeThatNeverWorkedDemotesWithinTheFirstLook()
    {
        FailingProbe probe = new(new LinuxException(Errno.EPERM, "open", "nothing")) { Failing = true };
        Sink sink = new();
        using DemotionMonitor monitor = new(NullLogger.Instance, [probe]);
        monitor.Start(sink, () => []);
        Assert.Equal("raise detector failing Vrf", sink.Last);
    }

    [Fact]
    public void WhatAProbeFoundOutlivesItsKernelFeature()
    {
        FailingProbe probe = new(new NotInKernelException("no such thing")) { Finds = true };
        Sink sink = new();
        using DemotionMonitor monitor = new(NullLogger.Instance, [probe]);
        monitor.Start(sink, () => []);
        Assert.Equal("raise found Vrf", sink.Last);
        probe.Failing = true;
        Assert.True(SpinWait.SpinUntil(() => probe.Refused > 0, 3000));
        Thread.Sleep(100);
        Assert.Equal("raise found Vrf", sink.Last);
    }

    [Theory]
    [InlineData(200, "raise r200 forwarding Ingress")]
    [InlineData(201, "raise many interfaces Vrf")]
    public void FindingsOfVeryManyInterfacesBecomeOne(int count, string last)
    {
        Sink sink = new();
        using DemotionMonitor monitor = new(NullLogger.Instance, [new InterfaceProbe()]);
        InterfaceInfo[] interfaces = [.. Enumerable.Range(1, count).Select(i => new InterfaceInfo((uint)i, $"r{i}", "", 0, 0, false, 0, 0))];
        monitor.Start(sink, () => interfaces);
        Assert.Equal(last, sink.Last);
    }

    private sealed class FailingProbe(Exception exception) : Probe
    {
        private volatile bool _failing;
        private int _refused;

        public bool Failing
        {
            get => _failing;
            set => _failing = value;
        }

        public bool Finds { get; init; }

        public int Opened { get; private set; }

        public int Refused => Volatile.Read(ref _refused);

        public override string Name => "failing";

        public override TimeSpan Period => TimeSpan.FromMilliseconds(10);

        public override void Open()
        {
            Opened++;
            if (Failing)
            {
                throw exception;
            }
        }

        public override void Look(InterfaceSet interfaces, List<Finding> findings)
        {
            if (Failing && Finds)
            {
                Interlocked.Increment(ref _refused);
                throw exception;
            }

            if (Finds)
            {
                findings.Add(new Finding("found", "", DemotionEffect.Vrf, 0));
            }
        }

        public override void Dispose()
        {
        }
    }

    private sealed class Sink : IDemotionSink
    {
        private volatile string _last = "";

        public string Last => _last;

        public void Raise(string @object, string reason, DemotionEffect effect, uint ifindex, Families families) => _last = $"raise {@object} {effect}";

        public void End(string @object) => _last = $"end {@object}";
    }
}
