using System.Net;
using FastPathSync.Bpf;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>Makes views of attached policers, from their maps.</summary>
internal static class PolicerReader
{
    /// <param name="flows">How many flows to give, those with the most drops first; null: all.</param>
    public static PolicerView Read(AttachedPolicer policer, int? flows)
    {
        PolicerConstants constants = policer.Constants;
        BpfMap table = policer.Map(PolicerLayout.Flows), totals = policer.Map(PolicerLayout.Totals);
        List<(PolicerKey Key, PolicerFlow Flow)> all = table.All<PolicerKey, PolicerFlow>();
        long now = (long)MonotonicClock.Nanoseconds;
        return new PolicerView
        {
            Dev = policer.Dev,
            Direction = PolicerOptions.Name(policer.Place.Direction),
            Priority = policer.Place.Priority,
            Program = policer.Program.Id,
            Rate = constants.Rate,
            Burst = constants.Burst,
            Per = Name((PolicerPer)constants.Per),
            Match = PolicerMatch.Of(in constants).ToString(),
            Passed = totals.Sum(PolicerLayout.Forwarded),
            Dropped = totals.Sum(PolicerLayout.Dropped),
            Unmatched = totals.Sum(PolicerLayout.Unmatched),
            Untracked = totals.Sum(PolicerLayout.Untracked),
            FlowsKnown = all.Count,
            FlowsMax = policer.Program.MaxEntries(table),
            Flows = [.. all.OrderByDescending(f => f.Flow.Dropped).ThenByDescending(f => f.Flow.Forwarded).Take(flows ?? int.MaxValue).Select(f => View(in constants, f.Key, f.Flow, now))],
        };
    }

    /// <summary>What the bucket of such a window holds: bpf/policer.bpf.c has the formula.</summary>
    public static uint Tokens(in PolicerConstants c, long start, long now) =>
        (uint)TokenBucket.Held(now, start, c.TokenNs, c.Burst);

    private static PolicerFlowView View(in PolicerConstants constants, PolicerKey key, in PolicerFlow f, long now) => new()
    {
        Source = key.Address is IPAddress a ? a.ToString() : constants.Per == (uint)PolicerPer.Class ? "class" : "non-ip",
        State = f.State.ToString().ToLowerInvariant(),
        WindowStartMs = Math.Round((f.Start - now) / 1e6, 3),
        Tokens = Tokens(in constants, f.Start, now),
        Passed = f.Forwarded,
        Dropped = f.Dropped,
    };

    private static string Name(PolicerPer per) => per == PolicerPer.Source ? "source" : "class";
}
