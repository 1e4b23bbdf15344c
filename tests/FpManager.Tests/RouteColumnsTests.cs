using FastPathSync.Fpc;
using FastPathSync.FpManager.Features.Sync;
using FastPathSync.SharedMemory.Tables;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed class RouteColumnsTests
{
    [Fact]
    public void ColumnsSayWhatSingleUpdatesSay()
    {
        Random random = new(3);
        using Tables columns = new Tables().Standard(), singles = new Tables().Standard();
        for (int round = 0; round < 60; round++)
        {
            Wire.RouteBatch batch = new() { Deletes = Columns(random, 40), Upserts = Columns(random, 60) };
            Wire.RouteBatch same = new();
            foreach ((Wire.Route body, uint destination, uint length) in Rows(batch.Deletes))
            {
                same.Updates.Add(new Wire.RouteBatch.Types.Update { Delete = KeyOf(body, destination, length) });
            }

            foreach ((Wire.Route body, uint destination, uint length) in Rows(batch.Upserts))
            {
                Wire.Route r = body.Clone();
                r.Key = KeyOf(body, destination, length);
                same.Updates.Add(new Wire.RouteBatch.Types.Update { Upsert = r });
            }

            Assert.Null(columns.State.Apply(BatchValidator.Valid(batch)));
            Assert.Null(singles.State.Apply(BatchValidator.Valid(same)));
            columns.State.Tick();
            singles.State.Tick();
        }

        Assert.Equal(singles.State.Routes.Count, columns.State.Routes.Count);
        Assert.InRange(columns.State.Routes.Count, 100, 10_000);
        for (int i = 0; i < 20_000; i++)
        {
            string address = $"10.{random.Next(4)}.{random.Next(8)}.{random.Next(256)}";
            Assert.Equal(singles.Verdict(address), columns.Verdict(address));
        }
    }

    [Theory]
    [InlineData("a row without length")]
    [InlineData("a row of no body")]
    [InlineData("host bits")]
    [InlineData("length 33")]
    [InlineData("a body without key")]
    [InlineData("a body with a prefix")]
    public void DamagedColumnsAreRefusedWhole(string damage)
    {
        Wire.RouteColumns c = Columns(new Random(1), 10);
        switch (damage)
        {
            case "a row without length":
                c.PrefixLengths = ByteString.CopyFrom(c.PrefixLengths.Span[1..]);
                break;
            case "a row of no body":
                c.Body[5] = (uint)c.Bodies.Count;
                break;
            case "host bits":
                c.Destinations[3] = 0x0a000001;
                c.PrefixLengths = ByteString.CopyFrom([.. c.PrefixLengths.Take(3), 24, .. c.PrefixLengths.Skip(4)]);
                break;
            case "length 33":
                c.PrefixLengths = ByteString.CopyFrom([.. c.PrefixLengths.Take(3), 33, .. c.PrefixLengths.Skip(4)]);
                break;
            case "a body without key":
                c.Bodies[1].Key = null;
                break;
            default:
                c.Bodies[1].Key.PrefixLength = 8;
                break;
        }

        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.RouteBatch { Upserts = c }));
        Assert.Throws<FpcProtocolException>(() => BatchValidator.Valid(new Wire.RouteBatch { Deletes = c }));
    }

    private static Wire.RouteKey KeyOf(Wire.Route body, uint destination, uint length)
    {
        Wire.RouteKey k = body.Key.Clone();
        (k.Destination, k.PrefixLength) = (destination, length);
        return k;
    }

    private static IEnumerable<(Wire.Route Body, uint Destination, uint Length)> Rows(Wire.RouteColumns c) =>
        Enumerable.Range(0, c.PrefixLengths.Length).Select(i => (c.Bodies[(int)c.Body[i]], c.Destinations[i], (uint)c.PrefixLengths[i]));

    /// <summary>Few addresses, so that prefixes meet: of tables main, local and 100, with metrics.</summary>
    private static Wire.RouteColumns Columns(Random random, int rows)
    {
        Wire.RouteColumns c = new();
        for (int i = 0; i < 4; i++)
        {
            Wire.Route body = new() { Key = new Wire.RouteKey { Table = random.Next(4) switch { 0 => 100u, 1 => 255u, _ => 254u }, Metric = (uint)random.Next(2) }, Type = 1 };
            body.Nexthops.Add(Tables.Via(random.Next(2) == 0 ? "10.2.0.2" : "10.1.0.2", random.Next(2) == 0 ? Tables.R1 : Tables.R0));
            c.Bodies.Add(body);
        }

        byte[] lengths = new byte[rows];
        for (int i = 0; i < rows; i++)
        {
            lengths[i] = (byte)random.Next(15, 33);
            uint address = 0x0a000000 | ((uint)random.Next(4) << 16) | ((uint)random.Next(8) << 8) | (uint)random.Next(256);
            c.Destinations.Add(address & (uint.MaxValue << (32 - lengths[i])));
            c.Body.Add((uint)random.Next(4));
        }

        c.PrefixLengths = ByteString.CopyFrom(lengths);
        return c;
    }
}
