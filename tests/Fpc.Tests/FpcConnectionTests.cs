using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;

namespace FastPathSync.Fpc.Tests;

public sealed class FpcConnectionTests
{
    private static (Socket Raw, FpcConnection Connection) Pair()
    {
        string path = Path.Combine(Path.GetTempPath(), $"fpc-{Guid.NewGuid():N}.sock");
        FpcEndpoint endpoint = FpcEndpoint.Parse($"unix:{path}");
        using Socket listener = endpoint.Listen();
        Socket client = endpoint.Connect();
        Socket server = listener.Accept();
        File.Delete(path);
        return (client, new FpcConnection(server));
    }

    [Fact]
    public void FramesArriveWholeAndInOrderHoweverTheyWereCut()
    {
        (Socket raw, FpcConnection c) = Pair();
        using FpcConnection sender = new(raw);
        using (c)
        {
            RouteBatch big = new();
            for (uint i = 0; i < 20_000; i++)
            {
                big.Updates.Add(new RouteBatch.Types.Update { Upsert = new Route { Key = new RouteKey { Destination = i, PrefixLength = 32 }, Type = 1 } });
            }

            Thread t = new(() =>
            {
                sender.Send(FpcType.Hello, new Hello { ProtocolVersion = 1 });
                sender.Send(FpcType.Route, big, FpcFlags.ReportWanted, vrf: 7);
            });
            t.Start();
            Assert.True(c.TryReceive(out FpcFrame hello));
            Assert.Equal((FpcType.Hello, 1u), (hello.Header.Type, hello.Header.Sequence));
            Assert.Equal(1u, hello.Parse(Hello.Parser).ProtocolVersion);
            Assert.True(c.TryReceive(out FpcFrame routes));
            Assert.Equal((FpcType.Route, FpcFlags.ReportWanted, 2u, 7u), (routes.Header.Type, routes.Header.Flags, routes.Header.Sequence, routes.Header.Vrf));
            Assert.Equal(big, routes.Parse(RouteBatch.Parser));
            t.Join();
        }
    }

    [Fact]
    public void HeaderIsSixteenBigEndianBytes()
    {
        byte[] bytes = new byte[16];
        new FpcHeader(FpcFlags.ReportWanted, FpcType.Route, 0x01020304, 0x05060708, 0x090a0b0c).Write(bytes);
        Assert.Equal("01010012" + "01020304" + "05060708" + "090A0B0C", Convert.ToHexString(bytes));
    }

    [Theory]
    [InlineData("02000001000000010000000000000000")] // version 2
    [InlineData("01800001000000010000000000000000")] // unknown flag
    [InlineData("0100FFFF000000010000000000000000")] // unknown type
    [InlineData("01000000000000010000000000000000")] // type none
    [InlineData("0100000100000001FFFFFFFF00000000")] // absurd length
    public void RubbishHeaderIsRefusedBeforeAnyBodyIsRead(string hex)
    {
        (Socket raw, FpcConnection c) = Pair();
        using (raw)
        using (c)
        {
            raw.Send(Convert.FromHexString(hex));
            Assert.Throws<FpcProtocolException>(() => c.TryReceive(out _));
        }
    }

    [Fact]
    public void TruncatedFrameIsAnEndNotAFrame()
    {
        (Socket raw, FpcConnection c) = Pair();
        using (c)
        {
            byte[] head = new byte[16];
            new FpcHeader(FpcFlags.None, FpcType.Route, 1, 100, 0).Write(head);
            raw.Send(head);
            raw.Send(new byte[99]);
            raw.Dispose();
            Assert.False(c.TryReceive(out _));
        }
    }

    /// <summary>Random and mutated bytes end in a frame, an end, or FpcProtocolException: nothing else.</summary>
    [Fact]
    public void RandomBytesNeverDoMoreThanDisconnect()
    {
        Random random = new(42);
        for (int round = 0; round < 300; round++)
        {
            (Socket raw, FpcConnection c) = Pair();
            byte[] bytes = new byte[random.Next(1, 200)];
            random.NextBytes(bytes);
            if (round % 2 == 0 && bytes.Length > 16)
            {
                // a good header before a bad body, which is the more dangerous kind
                new FpcHeader(FpcFlags.None, (FpcType)random.Next(16, 22), 1, (uint)bytes.Length - 16, 0).Write(bytes);
            }

            raw.Send(bytes);
            raw.Dispose();
            using (c)
            {
                try
                {
                    while (c.TryReceive(out FpcFrame f))
                    {
                        _ = f.Header.Type switch
                        {
                            FpcType.Interface => (object)f.Parse(InterfaceBatch.Parser),
                            FpcType.Address => f.Parse(AddressBatch.Parser),
                            FpcType.Route => f.Parse(RouteBatch.Parser),
                            FpcType.Nexthop => f.Parse(NexthopBatch.Parser),
                            FpcType.Neighbour => f.Parse(NeighbourBatch.Parser),
                            _ => f.Parse(DemotionBatch.Parser),
                        };
                    }
                }
                catch (FpcProtocolException)
                {
                    // refused, as it should be
                }
            }
        }
    }

    [Theory]
    [InlineData("tcp:127.0.0.1")]
    [InlineData("tcp:127.0.0.1:0")]
    [InlineData("unix:")]
    [InlineData("/run/x.sock")]
    public void EndpointsThatAreNoneAreRefused(string text) => Assert.Throws<FormatException>(() => FpcEndpoint.Parse(text));

    [Fact]
    public void SpeaksTcpAsItSpeaksUnix()
    {
        using Socket probe = FpcEndpoint.Parse("tcp:127.0.0.1:47613").Listen();
        using FpcConnection client = new(FpcEndpoint.Parse("tcp:127.0.0.1:47613").Connect());
        using FpcConnection server = new(probe.Accept());
        client.Send(FpcType.SyncState, new SyncState { Idle = true });
        Assert.True(server.TryReceive(out FpcFrame f));
        Assert.True(f.Parse(SyncState.Parser).Idle);
    }
}
