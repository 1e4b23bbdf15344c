using System.Net.Sockets;
using FastPathSync.Fpc;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.Topology;

/// <summary>What a cache manager gone mad would say: HELLO, and then batches of every kind of object, of which most are damaged.</summary>
internal static class DamagedBatches
{
    private static readonly FpcType[] s_kinds = [FpcType.Interface, FpcType.Address, FpcType.Route, FpcType.Nexthop, FpcType.Neighbour, FpcType.Demotion, FpcType.Rule, FpcType.Route6, FpcType.Vrf];

    /// <summary>One connection. No report is wanted of a batch: nobody waits for the one before to be judged.</summary>
    public static void Send(Socket socket, Random random)
    {
        byte[] hello = new Wire.Hello { ProtocolVersion = 1, Pid = Environment.ProcessId }.ToByteArray();
        try
        {
            socket.Send(Frame(FpcType.Hello, hello, FpcFlags.ReportWanted));
            for (int i = 0; i < 16; i++)
            {
                FpcType kind = s_kinds[random.Next(s_kinds.Length)];
                socket.Send(Frame(kind, Damage(Batch(kind, random).ToByteArray(), random), FpcFlags.None));
            }

            // What is unread on our side when we close would take what is unread on the other side along.
            socket.Shutdown(SocketShutdown.Send);
            byte[] reports = new byte[4096];
            while (socket.Receive(reports) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // Disconnected, as it deserves.
        }
    }

    private static byte[] Frame(FpcType type, byte[] body, FpcFlags flags)
    {
        byte[] frame = new byte[FpcHeader.Size + body.Length];
        new FpcHeader(flags, type, 1, (uint)body.Length, 0).Write(frame);
        body.CopyTo(frame, FpcHeader.Size);
        return frame;
    }

    /// <summary>One in four stays whole, one is cut, the others have a few bytes changed.</summary>
    private static byte[] Damage(byte[] body, Random random)
    {
        switch (random.Next(4))
        {
            case 0:
                return body;
            case 1:
                return body[..random.Next(body.Length)];
            default:
                for (int n = random.Next(1, 5); n > 0; n--)
                {
                    body[random.Next(body.Length)] = (byte)random.Next(256);
                }

                return body;
        }
    }

    private static IMessage Batch(FpcType kind, Random random)
    {
        // Small numbers name what is really there; extreme ones end tables.
        uint Number() => random.Next(4) switch { 0 => uint.MaxValue, 1 => (uint)random.Next(), _ => (uint)random.Next(8) };
        ByteString Address() => ByteString.CopyFrom([10, (byte)random.Next(1, 12), 0, (byte)random.Next(4)]);
        Wire.RouteKey Key() => new() { Table = 254, Destination = (10u << 24) | ((uint)random.Next(256) << 16), PrefixLength = 16, Metric = Number() };
        switch (kind)
        {
            case FpcType.Interface:
                Wire.Interface i = new() { Ifindex = Number(), Name = $"r{random.Next(4)}", Mtu = Number(), Flags = Number(), Address = ByteString.CopyFrom(2, 0, 0, 0, 0, 1), Type = 1, RpFilter = Number() };
                return new Wire.InterfaceBatch { Updates = { new Wire.InterfaceBatch.Types.Update { Upsert = i }, new Wire.InterfaceBatch.Types.Update { Delete = new() { Ifindex = Number() } } } };
            case FpcType.Address:
                Wire.Address a = new() { Ifindex = Number(), Local = Address(), Address_ = Address(), PrefixLength = Number(), Scope = Number(), Label = "r0" };
                return new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update { Upsert = a }, new Wire.AddressBatch.Types.Update { Delete = a } } };
            case FpcType.Route:
                Wire.RouteNexthop way = new() { Ifindex = Number(), Gateway = Address(), Weight = Number() };
                Wire.Route r = new() { Key = Key(), Type = (uint)random.Next(12), Mtu = Number(), NexthopId = (uint)random.Next(3), Nexthops = { way, way } };
                Wire.Route body = r.Clone();
                (body.Key.Destination, body.Key.PrefixLength) = (random.Next(8) == 0 ? Number() : 0, 0);
                Wire.RouteColumns columns = new()
                {
                    Bodies = { body },
                    Destinations = { Key().Destination, Key().Destination },
                    PrefixLengths = ByteString.CopyFrom([16, .. Enumerable.Repeat((byte)16, random.Next(8) == 0 ? 0 : 1)]),
                    Body = { 0, random.Next(8) == 0 ? Number() : 0 },
                };
                return new Wire.RouteBatch
                {
                    Updates = { new Wire.RouteBatch.Types.Update { Upsert = r }, new Wire.RouteBatch.Types.Update { Delete = Key() } },
                    Deletes = random.Next(2) == 0 ? columns : null,
                    Upserts = random.Next(2) == 0 ? columns : null,
                };
            case FpcType.Nexthop:
                Wire.Nexthop n = new() { Id = (uint)random.Next(1, 8), Family = 2, Ifindex = Number(), Gateway = Address() };
                Wire.Nexthop group = new() { Id = Number(), Members = { new Wire.NexthopGroupMember { Id = Number(), Weight = Number() }, new Wire.NexthopGroupMember { Id = n.Id, Weight = 1 } } };
                return new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update { Upsert = n }, new Wire.NexthopBatch.Types.Update { Upsert = group }, new Wire.NexthopBatch.Types.Update { Delete = new() { Id = Number() } } } };
            case FpcType.Neighbour:
                Wire.Neighbour b = new() { Ifindex = Number(), Destination = Address(), Lladdr = ByteString.CopyFrom(2, 0, 0, 0, 0, 2), State = (uint)random.Next(256), Flags = Number() };
                return new Wire.NeighbourBatch { Updates = { new Wire.NeighbourBatch.Types.Update { Upsert = b }, new Wire.NeighbourBatch.Types.Update { Delete = new() { Ifindex = Number(), Destination = Address() } } } };
            case FpcType.Rule:
                Wire.Rule rule = new()
                {
                    Id = ByteString.CopyFrom(new byte[random.Next(16, 18)]),
                    Family = random.Next(2) == 0 ? 2u : 10u,
                    Priority = Number(),
                    Action = (uint)random.Next(10),
                    Table = Number(),
                    Target = Number(),
                    Source = Address(),
                    SourceLength = Number(),
                    Iif = $"r{random.Next(4)}",
                    Fwmark = Number(),
                };
                return new Wire.RuleBatch { Updates = { new Wire.RuleBatch.Types.Update { Upsert = rule }, new Wire.RuleBatch.Types.Update { Delete = new() { Id = rule.Id } } } };
            case FpcType.Route6:
                Wire.Route6Key key6 = new() { Table = random.Next(3) == 0 ? Number() : 254, DestinationHigh = 0x2001_0db8_0000_0000ul + Number(), PrefixLength = Number() % 130, Metric = Number() };
                Wire.Route6 r6 = new() { Key = key6, Type = (uint)random.Next(12), Mtu = Number(), NexthopId = (uint)random.Next(3), Nexthops = { new Wire.RouteNexthop { Ifindex = Number(), Gateway = Address(), Weight = Number() } } };
                return new Wire.Route6Batch { Updates = { new Wire.Route6Batch.Types.Update { Upsert = r6 }, new Wire.Route6Batch.Types.Update { Delete = key6 } } };
            case FpcType.Vrf:
                Wire.Vrf vrf = new() { Id = Number(), Name = $"fpst-none-{random.Next(4)}", NetnsInode = Number() };
                return new Wire.VrfBatch { Updates = { new Wire.VrfBatch.Types.Update { Upsert = vrf }, new Wire.VrfBatch.Types.Update { Delete = new() { Id = Number() } } }, Complete = random.Next(4) == 0 };
            default:
                Wire.Demotion d = new() { Object = new string('x', random.Next(1, 300)), Reason = "none", Effect = (Wire.DemotionEffect)random.Next(7), Ifindex = Number() };
                return new Wire.DemotionBatch { Updates = { new Wire.DemotionBatch.Types.Update { Upsert = d } } };
        }
    }
}
