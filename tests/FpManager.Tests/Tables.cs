using System.Buffers.Binary;
using System.Net;
using FastPathSync.FpManager;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory.Tables;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

/// <summary>Workers of which the test says what they hold.</summary>
internal sealed class FakeWorkers : IWorkerSet
{
    public Dictionary<int, ulong> Quiescent { get; } = [];

    public void Refresh()
    {
    }

    public void Snapshot(Dictionary<int, ulong> quiescent)
    {
        quiescent.Clear();
        foreach ((int worker, ulong q) in Quiescent)
        {
            quiescent[worker] = q;
        }
    }
}

internal static class Ticks
{
    /// <summary>What fpmd does ten times a second.</summary>
    public static void Tick(this ForwardingState state)
    {
        state.Beat();
        state.Reclaimer.Close();
        state.Reclaimer.Poll();
    }
}

/// <summary>fpmd's tables in private segments, fed by FPC messages and asked as a worker would.</summary>
internal sealed unsafe class Tables : IDisposable
{
    public const uint R0 = 10, R1 = 11, Lo = 1;

    public Tables(ConfigurationSegments? segments = null)
    {
        Segments = segments ?? ConfigurationSegments.CreatePrivate();
        State = new ForwardingState(Segments, ["r0", "r1"], Workers);
    }

    public ConfigurationSegments Segments { get; }

    public FakeWorkers Workers { get; } = new();

    public ForwardingState State { get; }

    public VrfState* Vrf => VrfSegment.State(Segments.Vrf);

    public static uint Ip(string text) => BinaryPrimitives.ReadUInt32BigEndian(IPAddress.Parse(text).GetAddressBytes());

    public static ByteString Bytes(string ip) => ip.Length == 0 ? ByteString.Empty : ByteString.CopyFrom(IPAddress.Parse(ip).GetAddressBytes());

    public static Wire.RouteKey Key(string prefix, uint metric = 0, uint table = 254, uint tos = 0)
    {
        IPNetwork n = IPNetwork.Parse(prefix);
        return new Wire.RouteKey { Table = table, Destination = Ip(n.BaseAddress.ToString()), PrefixLength = (uint)n.PrefixLength, Metric = metric, Tos = tos };
    }

    public static Wire.RouteNexthop Via(string gateway, uint ifindex = R1, uint weight = 1, uint flags = 0) =>
        new() { Gateway = Bytes(gateway), Ifindex = ifindex, Weight = weight, Flags = flags };

    public Tables Interface(uint ifindex, string name, bool up = true, uint mtu = 1500, uint? mtu6 = null, uint rpFilter = 0)
    {
        byte[] mac = [2, 0, 0, 0, 0, (byte)ifindex];
        State.Apply(new Wire.InterfaceBatch
        {
            Updates =
            {
                new Wire.InterfaceBatch.Types.Update
                {
                    Upsert = new Wire.Interface { Ifindex = ifindex, Name = name, Mtu = mtu, Flags = up ? 0x10001u : 0, Address = ByteString.CopyFrom(mac), Forwarding = true, Forwarding6 = true, Mtu6 = mtu6 ?? mtu, RpFilter = rpFilter },
                },
            },
        });
        return this;
    }

    /// <summary>r0 and r1 up, 10.1.0.1/24 and 10.2.0.1/24 connected.</summary>
    public Tables Standard()
    {
        Interface(R0, "r0").Interface(R1, "r1").Interface(Lo, "lo");
        return Route("10.1.0.0/24", Via("", R0)).Route("10.2.0.0/24", Via("", R1));
    }

    public Tables Route(string prefix, params Wire.RouteNexthop[] nexthops) => Route(new Wire.Route { Key = Key(prefix), Type = 1, Nexthops = { nexthops } });

    public Tables Route(Wire.Route route)
    {
        Assert.Null(State.Apply(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update { Upsert = route } } }));
        return this;
    }

    public Tables NoRoute(Wire.RouteKey key)
    {
        State.Apply(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update { Delete = key } } });
        return this;
    }

    public static Wire.Route6Key Key6(string prefix, uint metric = 1024, uint table = 254, string from = "::/0")
    {
        IPNetwork n = IPNetwork.Parse(prefix), source = IPNetwork.Parse(from);
        IpAddress d = IpAddress.FromBytes(n.BaseAddress.GetAddressBytes()), s = IpAddress.FromBytes(source.BaseAddress.GetAddressBytes());
        return new Wire.Route6Key
        {
            Table = table,
            DestinationHigh = d.High,
            DestinationLow = d.Low,
            PrefixLength = (uint)n.PrefixLength,
            SourceHigh = s.High,
            SourceLow = s.Low,
            SourceLength = (uint)source.PrefixLength,
            Metric = metric,
        };
    }

    public Tables Route6(string prefix, params Wire.RouteNexthop[] nexthops) => Route6(new Wire.Route6 { Key = Key6(prefix), Type = 1, Nexthops = { nexthops } });

    public Tables Route6(Wire.Route6 route)
    {
        Assert.Null(State.Apply(new Wire.Route6Batch { Updates = { new Wire.Route6Batch.Types.Update { Upsert = route } } }));
        return this;
    }

    public Tables NoRoute6(Wire.Route6Key key)
    {
        Assert.Null(State.Apply(new Wire.Route6Batch { Updates = { new Wire.Route6Batch.Types.Update { Delete = key } } }));
        return this;
    }

    public Tables Neighbour(string address, uint ifindex = R1, byte mac = 0x42, uint state = 2)
    {
        Wire.Neighbour n = new() { Ifindex = ifindex, Destination = Bytes(address), State = state, Lladdr = mac == 0 ? ByteString.Empty : ByteString.CopyFrom(2, 0, 0, 0, 1, mac) };
        Assert.Null(State.Apply(new Wire.NeighbourBatch { Updates = { new Wire.NeighbourBatch.Types.Update { Upsert = n } } }));
        return this;
    }

    public Tables NoNeighbour(string address, uint ifindex = R1)
    {
        State.Apply(new Wire.NeighbourBatch { Updates = { new Wire.NeighbourBatch.Types.Update { Delete = new Wire.NeighbourKey { Ifindex = ifindex, Destination = Bytes(address) } } } });
        return this;
    }

    public Tables Object(Wire.Nexthop nexthop)
    {
        Assert.Null(State.Apply(new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update { Upsert = nexthop } } }));
        return this;
    }

    public Tables NoObject(uint id)
    {
        State.Apply(new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update { Delete = new Wire.NexthopKey { Id = id } } } });
        return this;
    }

    /// <summary>As `fpctl verify --repair` asks for it.</summary>
    public void Repair(ulong generation)
    {
        State.BeginSync(new Wire.BeginSync { Generation = generation, Kinds = { Wire.ObjectKind.Demotion } });
        Assert.True(State.TryEndSync(new Wire.EndSync { Generation = generation, Reason = "request" }, out _));
    }

    /// <summary>A whole synchronization of these kinds in which <paramref name="renew"/> says everything there is.</summary>
    public void Sync(ulong generation, Action renew, params Wire.ObjectKind[] kinds)
    {
        State.BeginSync(new Wire.BeginSync { Generation = generation, Kinds = { kinds } });
        renew();
        Assert.True(State.TryEndSync(new Wire.EndSync { Generation = generation }, out _));
    }

    public NexthopWord Lookup(string address)
    {
        uint leaf = Segments.HasFib4
            ? Fib4Segment.Reader(Segments.Fib4).Lookup(Ip(address))
            : (uint)FibEntry.Nexthop(State.Tries.Reader.Lookup(State.Tries.Reader.Find(FibFamily.Ipv4, 254), Ip(address)));
        return new NexthopWord(NexthopSegment.Words(Segments.Nexthop)[leaf]);
    }

    /// <summary>"r1 via 02:..:42", "punt no-route", "group r1 via ..|r0 via ..": what a worker would do.</summary>
    public string Verdict(string address) => Describe(Lookup(address), Ip(address));

    /// <summary>By an IPv6 table's own trie (254: main and local), or by both in the order that LocalFirst6 asks for.</summary>
    public NexthopWord Lookup6(string address, uint? table = null)
    {
        IpAddress a = IpAddress.FromBytes(IPAddress.Parse(address).GetAddressBytes());
        uint entry = 0;
        foreach (uint t in table is uint only ? [only] : Vrf->LocalFirst6 != 0 ? new uint[] { 255, 254 } : [254])
        {
            entry = entry != 0 ? entry : State.Tries.Reader.Lookup(State.Tries.Reader.Find(FibFamily.Ipv6, t), new FibKey(a.High, a.Low));
        }

        return entry == 0 ? NexthopWord.Punt(PuntReason.NoRoute) : new NexthopWord(NexthopSegment.Words(Segments.Nexthop)[FibEntry.Nexthop(entry)]);
    }

    public string Verdict6(string address, uint? table = null) => Describe(Lookup6(address, table), IpAddress.FromBytes(IPAddress.Parse(address).GetAddressBytes()));

    private string Describe(NexthopWord w, uint address) => Describe(w, IpAddress.FromV4(address));

    private string Describe(NexthopWord w, IpAddress address)
    {
        switch (w.Action)
        {
            case NexthopAction.Forward:
                return Describe(AdjacencySegment.Table(Segments.Adjacency)[w.Index]);
            case NexthopAction.OnLink:
                int a = NeighbourSegment.Hash(Segments.Neighbour).Find(w.Index, address);
                return a < 0 ? $"punt {ReasonNames.Of(PuntReason.NoNeighbour)}" : Describe(AdjacencySegment.Table(Segments.Adjacency)[a]);
            case NexthopAction.Buckets:
                GroupMember* bucket = NexthopSegment.Members(Segments.Nexthop) + w.Index;
                return string.Join(" | ", Enumerable.Range(0, (int)w.MemberCount).Select(b => Describe(new NexthopWord(NexthopSegment.Words(Segments.Nexthop)[bucket[b].Nexthop]), address)));
            case NexthopAction.Group:
                GroupMember* m = NexthopSegment.Members(Segments.Nexthop) + w.Index;
                List<string> ways = [];
                uint from = 0;
                for (int i = 0; i < w.MemberCount; i++)
                {
                    double rest = i == 0 ? uint.MaxValue - (double)Enumerable.Range(0, (int)w.MemberCount).Max(j => m[j].UpperBound) : 0; // falls to the first
                    double share = Math.Round(((double)m[i].UpperBound - from + rest) / uint.MaxValue, 3);
                    if (share > 0)
                    {
                        ways.Add($"{share:0.###} {Describe(new NexthopWord(NexthopSegment.Words(Segments.Nexthop)[m[i].Nexthop]), address)}");
                    }

                    from = m[i].UpperBound;
                }

                return string.Join(" | ", ways);
            default:
                return $"punt {ReasonNames.Of(w.Reason)}";
        }
    }

    private static string Describe(Adjacency a) => $"port {a.PortId} to {(a.MacLow >> 40) & 0xff:x2}";

    public void Dispose() => Segments.Dispose();
}
