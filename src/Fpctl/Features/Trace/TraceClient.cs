using System.Diagnostics;
using System.Runtime.InteropServices;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Capture;
using FastPathSync.Fpctl.Features.Rpc;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.Packets.Filters;

namespace FastPathSync.Fpctl.Features.Trace;

/// <summary>A trace of the running fast path, from its beginning to its end. If fpctl dies, the fast path ends it by itself.</summary>
internal sealed class TraceClient : IDisposable
{
    /// <summary>Looking must not take from forwarding what it needs: when not all can be told, little of a CPU is used, on either side of NETFPC.</summary>
    private const int ShareOfCpu = 8, Niceness = 10;

    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(10);
    private readonly CliContext _context;
    private readonly NetFpcClient _client;
    private readonly uint _id;

    private TraceClient(CliContext context, NetFpcClient client, uint id) => (_context, _client, _id) = (context, client, id);

    /// <summary>Packets that workers had no time to look at, or to record, up to now.</summary>
    public ulong Missed { get; private set; }

    /// <param name="port">[VRF/]IF; null: all.</param>
    /// <param name="filter">As tcpdump takes it; "": every packet.</param>
    /// <param name="verdicts">Only such packets; none: all.</param>
    /// <param name="snapLength">Bytes of each frame; 0: all.</param>
    public static TraceClient Start(CliContext context, string? port, string filter, IEnumerable<Verdict> verdicts, uint snapLength)
    {
        StartTrace request = new() { SnapLength = snapLength };
        request.Verdicts.AddRange(verdicts);
        if (filter.Length > 0)
        {
            request.Filter.AddRange(MemoryMarshal.Cast<FilterInstruction, ulong>(PcapCompiler.Compile(filter).Instructions).ToArray());
        }

        Linux.CpuPriority.SetThread(Niceness);
        NetFpcClient client = FastPathCall.Connect(context);
        try
        {
            if (port is not null)
            {
                request.Port = FastPathCall.FindPort(context, client, port).Port;
            }

            return new TraceClient(context, client, FastPathCall.Do(context, () => client.StartTrace(request)).Id);
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Packets as they come, some at a time (perhaps none), until somebody asks for the end and none is left.</summary>
    public IEnumerable<IReadOnlyList<TracedPacket>> Batches(Interrupt interrupt)
    {
        while (true)
        {
            bool last = interrupt.IsAsked;
            long begun = Stopwatch.GetTimestamp();
            TracedPackets polled = FastPathCall.Do(_context, () => _client.PollTrace(_id));
            bool all = polled.Missed == Missed;
            Missed = polled.Missed;
            yield return polled.Packets;
            if (last && !polled.More)
            {
                yield break;
            }

            TimeSpan rest = polled.Packets.Count == 0 ? s_betweenPolls : all ? TimeSpan.Zero : Stopwatch.GetElapsedTime(begun) * (ShareOfCpu - 1);
            if (!last && rest > TimeSpan.Zero)
            {
                interrupt.Wait(rest);
            }
        }
    }

    public void Dispose()
    {
        try
        {
            _client.StopTrace(_id);
        }
        catch (Exception e) when (e is NetFpcRefusedException or Linux.LinuxException)
        {
            // It ends by itself, soon.
        }

        _client.Dispose();
    }
}
