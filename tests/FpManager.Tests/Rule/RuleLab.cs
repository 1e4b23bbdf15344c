using System.Buffers.Binary;
using System.Security.Cryptography;
using FastPathSync.SharedMemory.Tables;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

/// <summary>fpmd's tables with policy rules, asked as a worker would.</summary>
internal sealed unsafe class RuleLab : IDisposable
{
    public const uint Local = 255, Main = 254, Default = 253;
    private ulong _order;

    /// <summary>r0 and r1 up, and gateways 10.2.0.N on r1 whose MAC ends in N.</summary>
    public RuleLab(SharedMemoryOf? earlier = null)
    {
        Tables = earlier is null ? new Tables().Standard() : new Tables(earlier.Segments);
    }

    /// <summary>The segments that an fpmd left behind.</summary>
    public sealed record SharedMemoryOf(FastPathSync.FpManager.Memory.ConfigurationSegments Segments);

    public Tables Tables { get; }

    public RuleList List4 => new(Tables.Vrf->Rules4);

    public RuleReader Walk => new(
        RuleSegment.Compiled(Tables.Segments.Rule), FibTrieSegment.Reader(Tables.Segments.FibTrie), Fib4Segment.Reader(Tables.Segments.Fib4),
        NexthopSegment.Words(Tables.Segments.Nexthop));

    public static Wire.Rule Lookup(uint priority, uint table) => new() { Family = 2, Priority = priority, Action = 1, Table = table };

    public static Wire.Rule Act(uint priority, uint action, uint target = 0) => new() { Family = 2, Priority = priority, Action = action, Target = target };

    /// <summary>As a namespace is born.</summary>
    public RuleLab Born() => Add(Lookup(0, Local), Lookup(32766, Main), Lookup(32767, Default));

    /// <summary>In one batch.</summary>
    public RuleLab Add(params IEnumerable<Wire.Rule> rules)
    {
        Assert.Null(Tables.State.Apply(new Wire.RuleBatch { Updates = { rules.Select(r => new Wire.RuleBatch.Types.Update { Upsert = Identified(r) }) } }));
        return this;
    }

    public RuleLab Delete(Wire.Rule rule)
    {
        Assert.Null(Tables.State.Apply(new Wire.RuleBatch { Updates = { new Wire.RuleBatch.Types.Update { Delete = new Wire.RuleKey { Id = IdOf(rule) } } } }));
        return this;
    }

    private Wire.Rule Identified(Wire.Rule rule)
    {
        Wire.Rule r = rule.Clone();
        r.Order = ++_order;
        r.Id = IdOf(rule);
        return r;
    }

    /// <summary>A route in a table through 10.2.0.N.</summary>
    public RuleLab Route(uint table, string prefix, byte way)
    {
        Tables.Neighbour($"10.2.0.{way}", mac: way);
        Tables.Route(new Wire.Route { Key = Tables.Key(prefix, table: table), Type = 1, Nexthops = { Tables.Via($"10.2.0.{way}") } });
        return this;
    }

    /// <param name="type">RTN_*</param>
    public RuleLab Special(uint table, string prefix, uint type)
    {
        Tables.Route(new Wire.Route { Key = Tables.Key(prefix, table: table), Type = type });
        return this;
    }

    public static RuleKey Packet(
        string to, string from = "10.1.0.2", ushort port = 0, byte tos = 0, byte protocol = 17, ushort sport = 1000, ushort dport = 2000) => new()
        {
            Destination = FibKey.Ipv4(Tests.Tables.Ip(to)),
            Source = FibKey.Ipv4(Tests.Tables.Ip(from)),
            InputPort = port,
            Dscp = tos,
            Protocol = protocol,
            SourcePort = sport,
            DestinationPort = dport,
        };

    /// <summary>"way 5" or "punt no-route".</summary>
    public string Ask(RuleKey key)
    {
        NexthopWord w = Walk.Ipv4(List4, key).Word;
        return w.Action == NexthopAction.Forward
            ? $"way {(byte)(AdjacencySegment.Table(Tables.Segments.Adjacency)[w.Index].MacLow >> 40)}"
            : w.Action == NexthopAction.OnLink ? $"link {w.Index}" : $"punt {ReasonNames.Of(w.Reason)}";
    }

    public string Ask(string to) => Ask(Packet(to));

    public void Dispose() => Tables.Dispose();

    private static ByteString IdOf(Wire.Rule rule)
    {
        Wire.Rule bare = rule.Clone();
        bare.Order = 0;
        bare.Id = ByteString.Empty;
        return ByteString.CopyFrom(SHA256.HashData(bare.ToByteArray()).AsSpan(0, 16));
    }
}
