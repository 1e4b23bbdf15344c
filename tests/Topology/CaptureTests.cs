using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

public sealed class CaptureInNativeMode(CaptureLab lab) : CaptureTests(lab), IClassFixture<CaptureLab>;

public sealed class CaptureInGenericMode(CaptureInGenericMode.GenericLab lab) : CaptureTests(lab), IClassFixture<CaptureInGenericMode.GenericLab>
{
    public sealed class GenericLab : CaptureLab
    {
        public override string StartOptions => base.StartOptions + " --mode generic";
    }
}

/// <summary>tcpdump, unmodified, in the router: it sees of what the fast path forwards what it sees where the kernel does.</summary>
public abstract class CaptureTests(CaptureLab lab) : TopologyTest(lab)
{
    private const byte Host = 0, OtherHost = 3, Outgoing = 4;

    /// <summary>Linux serves such a socket behind its tc hooks, where no copy may come: it gets its packets because Linux does.</summary>
    [Fact]
    public void ASocketOfOneProtocolGetsItsPacketsByLinux()
    {
        _ = Product;
        using FileDescriptor socket = Router.Inside(() => FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0x0008), "socket", "AF_PACKET"));
        Thread.Sleep(250);
        ulong before = Punted();
        using PacketSocket client = Client.OpenPacketSocket("c0"), server = Server.OpenPacketSocket("s0");
        client.Send(Enumerable.Range(0, 20).Select(i => lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target).Udp((ushort)i, RouterLab.SilentPort, []).Build()), packetsPerSecond: 1000);
        Assert.Equal(20, server.TakeWhenQuiet(20).Count);
        Wait.Until(() => Punted() == before + 20, TimeSpan.FromSeconds(2), "they are punted for the socket");

        ulong Punted() => Product.Show("stats").GetProperty("total").GetProperty("punted") is var p && p.TryGetProperty("packet-socket", out JsonElement n) ? n.GetUInt64() : 0;
    }

    [Fact]
    public void TcpdumpSeesWhatItSeesWithoutUs()
    {
        _ = Product;
        lab.WarmUpBoth();
        (List<TcpdumpFrame>[] seen, List<string> arrived) = lab.Exchange(productRuns: true);
        uint carrier = (uint)Router.IfIndex("fpn0");

        Assert.True(Product.Stats().Total.Forwarded > 100);
        Assert.Equal(lab.Arrived, arrived); // no copy was answered or forwarded
        for (int q = 0; q < CaptureLab.Questions.Count; q++)
        {
            (string arguments, int atLeast) = CaptureLab.Questions[q];
            List<TcpdumpFrame> kernel = lab.Seen[q];
            if (StartDefaults.PuntsThroughTap)
            {
                seen[q].RemoveAll(f => f.IfIndex == carrier); // docs/features/capture.md
            }

            Assert.True(kernel.Count >= atLeast, $"tcpdump {arguments}: only {kernel.Count} without us");
            Assert.True(
                Sorted(kernel).SequenceEqual(Sorted(seen[q])),
                $"tcpdump {arguments}: {kernel.Count} without us, {seen[q].Count} with us\n  only without:\n{Only(kernel, seen[q])}\n  only with:\n{Only(seen[q], kernel)}");
            Assert.Equal(kernel.Where(IsReceived).Count(), seen[q].Where(IsReceived).Count());
            Assert.True(seen[q].Zip(seen[q].Skip(1)).All(p => p.First.Time <= p.Second.Time), $"tcpdump {arguments}: timestamps go back");
            Assert.DoesNotContain(seen[q], f => f.PacketType is not (Host or OtherHost or Outgoing));
        }

        JsonElement captured = Product.Show("stats").GetProperty("total").GetProperty("captured");
        Assert.True(captured.GetProperty("copied").GetUInt64() > 100);
        Assert.Equal(0ul, captured.GetProperty("missed").GetUInt64());
        Product.AssertConserved();

        static string Only(List<TcpdumpFrame> these, List<TcpdumpFrame> those)
        {
            List<string> left = [.. these.Select(f => f.Text)];
            those.ForEach(f => left.Remove(f.Text));
            return string.Join('\n', left);
        }

        static IEnumerable<string> Sorted(List<TcpdumpFrame> frames) => frames.Select(f => f.Text).Order(StringComparer.Ordinal);
        static bool IsReceived(TcpdumpFrame f) => f.PacketType == Host;
    }
}
