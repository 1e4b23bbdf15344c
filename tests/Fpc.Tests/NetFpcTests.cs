using System.Net.Sockets;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;

namespace FastPathSync.Fpc.Tests;

public sealed class NetFpcTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"netfpc-{Guid.NewGuid():N}.sock");
    private readonly List<string> _rejected = [];
    private readonly NetFpcServer _server;

    public NetFpcTests() => _server = new NetFpcServer(_path, new Service(), new Packets(), r => { lock (_rejected) { _rejected.Add(r); } });

    [Fact]
    public void CallIsAnsweredByTheService()
    {
        using NetFpcClient client = new(_path, TimeSpan.FromSeconds(2));
        Assert.Equal(7, client.Ping().Pid);
        Assert.Equal((1400u, 1778u), (client.SetPortMtu(3, 1400).Mtu, client.GetPortMtu(3).MaxMtu));
        Assert.Equal((true, false, "blue/r0"), (client.AddPort(3, "blue/r0"), client.AddPort(4, "blue/r1"), Assert.Single(client.ListPorts()).Name));
    }

    [Fact]
    public void RefusalComesBackWithErrnoAndTextAndTheConnectionLives()
    {
        using NetFpcClient client = new(_path, TimeSpan.FromSeconds(2));
        NetFpcRefusedException e = Assert.Throws<NetFpcRefusedException>(() => client.SetPortMtu(3, 9000));
        Assert.Equal(Errno.EMSGSIZE, e.ErrorNumber);
        Assert.Contains("9000 is over 1778", e.Message, StringComparison.Ordinal);
        Assert.Equal(7, client.Ping().Pid);
    }

    [Fact]
    public void SilentServerTimesOut()
    {
        string path = _path + ".silent";
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        using NetFpcClient client = new(path, TimeSpan.FromMilliseconds(100));
        Assert.Equal(Errno.ETIMEDOUT, Assert.Throws<LinuxException>(() => client.Ping()).ErrorNumber);
        File.Delete(path);
    }

    [Fact]
    public void ACallOfAnotherVersionIsAnsweredByAClearFailure()
    {
        using Socket s = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 2000 };
        s.Connect(new UnixDomainSocketEndPoint(_path));
        byte[] call = new byte[NetFpcHeader.Size];
        new NetFpcHeader(false, NetFpcCall.Ping, 5, 0, 0) { SpokenVersion = 9 }.Write(call);
        s.Send(call);
        byte[] reply = new byte[512];
        int n = s.Receive(reply);
        NetFpcHeader h = NetFpcHeader.Parse(reply);
        Assert.Equal((true, 5u, Errno.EPROTONOSUPPORT, NetFpcHeader.Version), (h.Reply, h.Id, h.ErrorNumber, h.SpokenVersion));
        Assert.Contains("speaks NETFPC version 1, not 9", System.Text.Encoding.UTF8.GetString(reply, NetFpcHeader.Size, n - NetFpcHeader.Size), StringComparison.Ordinal);
        Assert.Equal(0, s.Receive(reply));
    }

    [Fact]
    public void RubbishIsDisconnectedAndOthersAreServedOn()
    {
        Random random = new(7);
        for (int i = 0; i < 200; i++)
        {
            using Socket s = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            s.Connect(new UnixDomainSocketEndPoint(_path));
            byte[] bytes = new byte[random.Next(1, 64)];
            random.NextBytes(bytes);
            if (i % 2 == 0 && bytes.Length >= 16)
            {
                new NetFpcHeader(false, (NetFpcCall)random.Next(0, 5), 1, (uint)bytes.Length - 16, 0).Write(bytes);
            }

            s.Send(bytes);
        }

        using NetFpcClient client = new(_path, TimeSpan.FromSeconds(2));
        Assert.Equal(7, client.Ping().Pid);
        SpinWait.SpinUntil(() => { lock (_rejected) { return _rejected.Count > 50; } }, 2000);
        Assert.True(_rejected.Count > 50, $"{_rejected.Count} peers were told to go");
    }

    public void Dispose()
    {
        _server.Dispose();
        File.Delete(_path);
    }

    private sealed class Service : INetFpcService
    {
        private uint _mtu = 1500;

        public PingReply Ping(Ping request) => new() { Pid = 7, ProtocolVersion = 1 };

        public PortMtuReply SetPortMtu(SetPortMtu request)
        {
            _mtu = request.Mtu <= 1778 ? request.Mtu : throw new LinuxException(Errno.EMSGSIZE, "MTU", $"{request.Mtu} is over 1778");
            return new PortMtuReply { Mtu = _mtu, MaxMtu = 1778 };
        }

        public AddPortReply AddPort(AddPort request) => new() { Served = request.Port == 3 };

        public DeletePortReply DeletePort(DeletePort request) => new();

        public PortInfo SetPortWorkers(SetPortWorkers request) => new() { Port = request.Port, Workers = { request.Workers } };

        public PortInfo SetPortPromiscuous(SetPortPromiscuous request) => new() { Port = request.Port, Promiscuous = request.On };

        public SetPuntLimitReply SetPuntLimit(SetPuntLimit request) => new();

        public PortList ListPorts(ListPorts request) => new() { Ports = { new PortInfo { Port = 3, Name = "blue/r0" } } };

        public PortMtuReply GetPortMtu(GetPortMtu request) => new() { Mtu = _mtu, MaxMtu = 1778 };
    }

    private sealed class Packets : IPacketService
    {
        public ExplainReply Explain(Explain request) =>
            new() { Packets = { request.Frames.Select(f => new ExplainedPacket { TxPort = request.Port + 1, Frame = f, Verdict = Verdict.Forward }) } };

        public TraceStarted StartTrace(StartTrace request) => new() { Id = request.SnapLength, KeepAliveMs = 5000 };

        public TracedPackets PollTrace(PollTrace request) => throw new NetFpcRefusedException(Errno.ENOENT, $"no trace {request.Id}");

        public TraceStopped StopTrace(StopTrace request) => new();
    }
}
