using FastPathSync.Fpc;
using FastPathSync.FpManager.Features.Sync;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed class BatchValidatorTests
{
    public static TheoryData<Wire.Route> BadRoutes => new(
        new Wire.Route { Type = 1 },
        new Wire.Route { Key = new Wire.RouteKey { Table = 254, Destination = 0xffffff00, PrefixLength = 8 }, Type = 1 },
        new Wire.Route { Key = new Wire.RouteKey { Table = 254, Destination = 0x0a0000ff, PrefixLength = 25 }, Type = 1 },
        new Wire.Route { Key = new Wire.RouteKey { Table = 254, Destination = 1, PrefixLength = 0 }, Type = 1 },
        new Wire.Route { Key = new Wire.RouteKey { Table = 254, Destination = 0, PrefixLength = 33 }, Type = 1 },
        new Wire.Route { Key = Tables.Key("10.0.0.0/8"), Type = 300 },
        new Wire.Route { Key = Tables.Key("10.0.0.0/8"), Type = 1, Nexthops = { new Wire.RouteNexthop { Gateway = ByteString.CopyFrom(1, 2, 3) } } },
        new Wire.Route { Key = Tables.Key("10.0.0.0/8"), Type = 1, Nexthops = { Enumerable.Repeat(new Wire.RouteNexthop(), 5000) } });

    [Theory]
    [MemberData(nameof(BadRoutes))]
    public void RouteThatNoKernelSaysIsRefusedWithItsWholeBatch(Wire.Route bad)
    {
        Wire.RouteBatch batch = new()
        {
            Updates = { new Wire.RouteBatch.Types.Update { Upsert = new Wire.Route { Key = Tables.Key("10.1.0.0/16"), Type = 6 } }, new Wire.RouteBatch.Types.Update { Upsert = bad } },
        };
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(batch));
    }

    [Theory]
    [InlineData("0.0.0.0/0")]
    [InlineData("10.0.0.0/8")]
    [InlineData("10.9.9.9/32")]
    public void OrdinaryPrefixPasses(string prefix) =>
        BatchValidator.Valid(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update { Upsert = new Wire.Route { Key = Tables.Key(prefix), Type = 1 } } } });

    [Fact]
    public void GroupThatHoldsItselfIsRefused() =>
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.NexthopBatch
        {
            Updates = { new Wire.NexthopBatch.Types.Update { Upsert = new Wire.Nexthop { Id = 5, Members = { new Wire.NexthopGroupMember { Id = 5 } } } } },
        }));

    [Fact]
    public void EmptyUpdatesAreRefused()
    {
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update() } }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update() } }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.InterfaceBatch { Updates = { new Wire.InterfaceBatch.Types.Update() } }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update() } }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.NeighbourBatch { Updates = { new Wire.NeighbourBatch.Types.Update() } }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.DemotionBatch { Updates = { new Wire.DemotionBatch.Types.Update() } }));
    }

    /// <summary>Random batches, well-formed and nonsensical: what the validator lets pass, the tables survive.</summary>
    [Fact]
    public void WhatPassesNeverBreaksTheTables()
    {
        Random random = new(11);
        using Tables t = new Tables().Standard();
        for (int i = 0; i < 4000; i++)
        {
            byte[] gateway = new byte[random.Next(4) == 0 ? 4 : random.Next(18)];
            random.NextBytes(gateway);
            uint id = (uint)random.Next(6);
            Wire.RouteKey key = new() { Table = 254, Destination = (uint)random.NextInt64() << random.Next(32), PrefixLength = (uint)random.Next(36), Metric = (uint)random.Next(2) };
            Wire.Route route = new() { Key = key, Type = (uint)random.Next(13), NexthopId = (uint)random.Next(6), Mtu = (uint)random.Next(70000) };
            route.Nexthops.Add(Enumerable.Range(0, random.Next(4)).Select(_ => new Wire.RouteNexthop { Ifindex = (uint)random.Next(14), Gateway = ByteString.CopyFrom(gateway), Weight = (uint)random.NextInt64() }));
            Wire.Nexthop nexthop = new() { Id = id, Ifindex = (uint)random.Next(14), Gateway = ByteString.CopyFrom(gateway), Blackhole = random.Next(9) == 0 };
            nexthop.Members.Add(Enumerable.Range(0, random.Next(3)).Select(_ => new Wire.NexthopGroupMember { Id = (uint)random.Next(6), Weight = (uint)random.NextInt64() }));
            try
            {
                switch (random.Next(4))
                {
                    case 0:
                        t.State.Apply(BatchValidator.Valid(new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update { Upsert = nexthop } } }));
                        break;
                    case 1:
                        t.State.Apply(BatchValidator.Valid(new Wire.NexthopBatch { Updates = { new Wire.NexthopBatch.Types.Update { Delete = new Wire.NexthopKey { Id = id } } } }));
                        break;
                    case 2:
                        t.State.Apply(BatchValidator.Valid(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update { Delete = key } } }));
                        break;
                    default:
                        t.State.Apply(BatchValidator.Valid(new Wire.RouteBatch { Updates = { new Wire.RouteBatch.Types.Update { Upsert = route } } }));
                        break;
                }
            }
            catch (FpcProtocolException)
            {
                // refused whole
            }

            t.State.Tick();
            _ = t.Lookup("10.0.0.1");
        }

        t.Route("10.9.0.0/16", Tables.Via("10.2.0.2")).Neighbour("10.2.0.2");
        Assert.Equal("port 1 to 42", t.Verdict("10.9.200.1"));
    }
}
