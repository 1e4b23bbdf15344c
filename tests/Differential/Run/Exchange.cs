using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Sends probes to both routers and waits until both have said all they have to say.</summary>
internal sealed class Exchange(RouterPair routers)
{
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(40), s_quietWhenDifferent = TimeSpan.FromMilliseconds(300), s_limit = TimeSpan.FromSeconds(5);

    /// <summary>The ratio of sending to sleeping keeps every queue on the way (netdev_max_backlog: 1000) short.</summary>
    private const int BurstLength = 16;

    public (List<Emission> Kernel, List<Emission> Product) Send(IReadOnlyList<Probe> probes)
    {
        Wire wire = routers.Wire;
        wire.Clear();
        foreach ((int i, Probe probe) in probes.Index())
        {
            bool a = wire.Send(Side.Kernel, probe.Port, probe.Frame), b = wire.Send(Side.Product, probe.Port, probe.Frame);
            if (a != b)
            {
                throw new HarnessException($"{probe}: one of the two cables doesn't take it");
            }

            if (i % BurstLength == BurstLength - 1)
            {
                Thread.Sleep(1);
            }
        }

        Settle();
        return (wire.Peek(Side.Kernel), wire.Peek(Side.Product));
    }

    /// <summary>
    /// Until nothing has come for a while and no neighbour is being asked for; longer while the two differ, since one of
    /// them may only be slow.
    /// </summary>
    private void Settle()
    {
        Stopwatch clock = Stopwatch.StartNew();
        while (clock.Elapsed < s_limit)
        {
            Thread.Sleep(10);
            TimeSpan quiet = routers.Wire.QuietFor < clock.Elapsed ? routers.Wire.QuietFor : clock.Elapsed;
            if (quiet < s_quiet || (quiet < s_quietWhenDifferent && !Comparison.Of(routers.Wire.Peek(Side.Kernel), routers.Wire.Peek(Side.Product)).Equal))
            {
                continue;
            }

            if (routers.Ip(Side.Kernel, "neighbor show nud incomplete").Length == 0 && routers.Ip(Side.Product, "neighbor show nud incomplete").Length == 0
                && routers.Wire.QuietFor >= s_quiet)
            {
                return;
            }
        }
    }
}
