namespace FastPathSync.Topology;

/// <summary>The plain path: what Linux would forward arrives, counted by us and not by the kernel, and bit for bit the same.</summary>
public sealed class ForwardingTests(ForwardingTests.Fixture lab) : TopologyTest(lab), IClassFixture<ForwardingTests.Fixture>
{
    /// <summary>Sends the random packets through the kernel alone before the product starts.</summary>
    public sealed class Fixture : RouterLab
    {
        public Fixture()
        {
            try
            {
                WarmUp();
                Packets = RandomPackets.Forwardable(this, seed: 20261120, count: 1500);
                KernelFrames = RandomPackets.SendThrough(this, Packets);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public byte[][] Packets { get; }

        public List<byte[]> KernelFrames { get; }
    }

    [Fact]
    public void OfTwentyThousandPacketsAllButAPerMilleArriveAndTheKernelForwardsNone()
    {
        CounterReport before = Product.SettledTotal();
        ulong kernelBefore = Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow flow = Lab.StartFlow(rate: 10_000, limit: 20_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing <= 20 && report.Duplicates == 0, report.ToString());
        CounterReport after = Product.SettledTotal();
        Assert.True(after.Forwarded - before.Forwarded >= 19_980, $"forwarded counts {after.Forwarded - before.Forwarded} of 20000");
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams") - kernelBefore;
        Assert.True(kernel < 100, $"ForwDatagrams moved by {kernel}");
        Product.AssertConserved();
    }

    [Fact]
    public void WhatArrivesIsByteForByteWhatTheKernelDelivers()
    {
        Assert.Equal(lab.Packets.Length, lab.KernelFrames.Count);
        CounterReport before = Product.SettledTotal();
        List<byte[]> ours = RandomPackets.SendThrough(lab, lab.Packets);
        CounterReport after = Product.SettledTotal();
        RandomPackets.AssertSame(lab.KernelFrames, ours);
        ulong forwarded = after.Forwarded - before.Forwarded;
        Assert.True(forwarded >= (ulong)lab.Packets.Length, $"only {forwarded} of {lab.Packets.Length} were forwarded by the fast path");
    }
}
