using System.Runtime.InteropServices;
using FastPathSync.Bpf;
using FastPathSync.FastPath.Explain;
using FastPathSync.FastPath.Trace;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.Packets.Filters;
using Google.Protobuf;
using ExplainRequest = FastPathSync.NetFpc.Protocol.Explain;

namespace FastPathSync.FastPath.Rpc;

/// <summary>NETFPC: what becomes of packets, of given ones (explain) and of real ones (trace).</summary>
internal sealed unsafe class PacketService(FastPathEngine engine) : IPacketService
{
    /// <summary>So many bytes of frames in a reply leave room for what is said about them.</summary>
    private const int ReplyBytes = 40 << 10, BytesBesideFrame = 96;

    private const uint AllVerdicts = 7;

    public ExplainReply Explain(ExplainRequest request)
    {
        try
        {
            lock (engine.PortGate)
            {
                ExplainReply reply = new();
                reply.Packets.AddRange(engine.Explainer
                    .Explain((int)Math.Min(request.Port, int.MaxValue), [.. request.Frames.Select(f => f.Memory)])
                    .Select(e => Explained(e.Passed, e.Outcome)));
                return reply;
            }
        }
        catch (BpfException e)
        {
            throw new NetFpcRefusedException(e.ErrorNumber, e.Message);
        }
    }

    public TraceStarted StartTrace(StartTrace request)
    {
        if (request.HasPort)
        {
            lock (engine.PortGate)
            {
                _ = engine.Ports.Find((int)Math.Min(request.Port, int.MaxValue))
                    ?? throw new NetFpcRefusedException(Errno.ENODEV, $"port {request.Port}: there is no such port; `fpctl port show` lists the ports");
            }
        }

        uint verdicts = request.Verdicts.Aggregate(0u, (all, v) => all | (1u << ((int)v - (int)NetFpc.Protocol.Verdict.Forward)));
        uint id = engine.Traces.Start(
            request.HasPort ? (int)request.Port : -1, MemoryMarshal.Cast<ulong, FilterInstruction>(request.Filter.ToArray()),
            verdicts == 0 ? AllVerdicts : verdicts, request.SnapLength == 0 ? uint.MaxValue : request.SnapLength);
        return new TraceStarted { Id = id, KeepAliveMs = (uint)Traces.KeepAlive.TotalMilliseconds };
    }

    public TracedPackets PollTrace(PollTrace request) => engine.Traces.Poll(request.Id, session =>
    {
        TracedPackets reply = new() { Missed = session.Missed };
        int room = ReplyBytes;
        for (int w = 0; w < session.Rings.Count; w++)
        {
            TraceRecord* r;
            while ((r = session.Rings[w].Peek()) != null)
            {
                room -= (int)r->Kept + BytesBesideFrame;
                if (room < 0 && reply.Packets.Count > 0)
                {
                    reply.More = true;
                    return reply;
                }

                reply.Packets.Add(Traced(r, w));
                session.Rings[w].Advance();
            }
        }

        return reply;
    });

    public TraceStopped StopTrace(StopTrace request)
    {
        engine.Traces.Stop(request.Id);
        return new TraceStopped();
    }

    private static ExplainedPacket Explained(SharedMemory.Tables.PassReason? passed, in DryOutcome o)
    {
        ExplainedPacket p = new()
        {
            Passed = passed is not null,
            PassReason = (uint)(passed ?? 0),
            Verdict = Of((byte)o.Verdict),
            Reason = o.Reason,
            Nodes = o.Passed,
            TxPort = (uint)Math.Max(0, o.TxPort),
            Frame = UnsafeByteOperations.UnsafeWrap(o.Frame),
            NexthopWord = o.Nexthop,
        };
        if (o.Route is SharedMemory.Tables.RouteDecision route)
        {
            p.Lookup = new Lookup { Nexthop = route.Nexthop, PrefixLength = (uint)route.Depth };
            if (route.Rule != uint.MaxValue)
            {
                p.Lookup.Rule = route.Rule;
            }
        }

        return p;
    }

    private static TracedPacket Traced(TraceRecord* r, int worker) => new()
    {
        Time = r->Time,
        Worker = (uint)worker,
        Port = r->Port,
        Verdict = Of(r->Verdict),
        Reason = r->Verdict == (byte)FastPath.Verdict.Forward ? 0u : r->Reason,
        Nodes = r->Nodes,
        TxPort = r->Verdict == (byte)FastPath.Verdict.Forward ? r->TxPort : 0u,
        NexthopWord = r->Nexthop,
        Entry = r->Entry,
        Length = r->Length,
        Frame = ByteString.CopyFrom(new ReadOnlySpan<byte>(r + 1, (int)r->Kept)),
    };

    private static NetFpc.Protocol.Verdict Of(byte verdict) => (NetFpc.Protocol.Verdict)(verdict + (int)NetFpc.Protocol.Verdict.Forward);
}
