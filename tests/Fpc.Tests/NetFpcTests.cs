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

    public NetFpcTests() => _server = new NetFpcServer(_path, new Service(), r => { lock (_rejected) { _rejected.Add(r); } });

    [Fact]
    public void CallIsAnsweredByTheService()
    {
        using NetFpcClient client = new(_path, TimeSpan.FromSeconds(2));
        Assert.Equal(7, client.Ping().Pid);
        Assert.Equal((1400u, 1778u), (client.SetPortMtu(3, 1400).Mtu, client.GetPortMtu(3).MaxMtu));
    }

    [Fact]
    public void RefusalComesBackWithErrnoAndTextAndTheConnectionLives()
    {
        using NetFpcClient client = new(_path, TimeSpan.FromSeconds(2));
        LinuxException e = Assert.Throws<LinuxException>(() => client.SetPortMtu(3, 9000));
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

        public PortMtuReply GetPortMtu(GetPortMtu request) => new() { Mtu = _mtu, MaxMtu = 1778 };
    }
}
