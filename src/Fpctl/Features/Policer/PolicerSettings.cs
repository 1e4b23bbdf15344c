using FastPathSync.Bpf;
using FastPathSync.Fpctl.Cli;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>What a policer is made with: B packets at once, Q packets per second.</summary>
internal readonly record struct PolicerSettings(uint Rate, uint Burst, PolicerPer Per, PolicerMatch Match)
{
    /// <summary>T is whole nanoseconds, rounded up: at this rate, at most 0.1 % less is let through than was asked for.</summary>
    public const uint MostRate = 1_000_000;

    public const uint MostBurst = 1_000_000, FewestFlows = 64, MostFlows = 16 << 20;

    /// <summary>T = 1/Q</summary>
    public long TokenNs => TokenBucket.Token(Rate);

    /// <summary>L = (B - 1) x T</summary>
    public long WindowNs => TokenBucket.Window(Rate, Burst);

    /// <summary>"100", "100/s", "20k", "20k/s"</summary>
    public static uint ParseRate(string text) =>
        TokenBucket.TryParseRate(text, MostRate, out uint rate)
            ? rate
            : throw new CliError($"--rate {text}: not a rate; give packets per second from 1 to {MostRate}, such as 100, 100/s or 20k", CliError.Usage);

    public static uint CheckBurst(int burst) =>
        burst is >= 1 and <= (int)MostBurst ? (uint)burst : throw new CliError($"--burst {burst}: give the packets that may come at once, 1 to {MostBurst}", CliError.Usage);

    /// <summary>The program, opened and set, not loaded yet.</summary>
    /// <param name="packetClock">For tests: a packet's time is its tstamp.</param>
    public BpfObject Open(uint flows = PolicerLayout.DefaultFlows, bool packetClock = false)
    {
        BpfObject program = BpfObject.Open("policer");
        try
        {
            program.SetConstants(PolicerLayout.Constants, new PolicerConstants
            {
                TokenNs = TokenNs,
                WindowNs = WindowNs,
                Rate = Rate,
                Burst = Burst,
                Per = (uint)Per,
                Match = (uint)Match.Bits,
                Protocol = Match.Protocol,
                Dport = Match.Dport,
                Ttl = Match.Ttl,
                PacketClock = packetClock ? 1u : 0,
            });
            program.SetMaxEntries(PolicerLayout.Flows, flows);
            return program;
        }
        catch
        {
            program.Dispose();
            throw;
        }
    }
}
