using System.Net.Sockets;
using System.Text;
using FastPathSync.Linux;
using FastPathSync.NetFpc.Protocol;
using Google.Protobuf;

namespace FastPathSync.NetFpc;

/// <summary>What the fast path does for its callers. Throwing NetFpcRefusedException or LinuxException answers with its errno and text.</summary>
public interface INetFpcService
{
    PingReply Ping(Ping request);

    PortMtuReply SetPortMtu(SetPortMtu request);

    PortMtuReply GetPortMtu(GetPortMtu request);

    AddPortReply AddPort(AddPort request);

    DeletePortReply DeletePort(DeletePort request);

    PortList ListPorts(ListPorts request);

    PortInfo SetPortPromiscuous(SetPortPromiscuous request);

    PortInfo SetPortWorkers(SetPortWorkers request);

    SetPuntLimitReply SetPuntLimit(SetPuntLimit request);
}

/// <summary>What it tells of packets; fails as INetFpcService does.</summary>
public interface IPacketService
{
    ExplainReply Explain(Explain request);

    TraceStarted StartTrace(StartTrace request);

    TracedPackets PollTrace(PollTrace request);

    TraceStopped StopTrace(StopTrace request);
}

/// <summary>Serves NETFPC on a UNIX socket: a thread that accepts, and one per connection.</summary>
public sealed class NetFpcServer : IDisposable
{
    private readonly Socket _listener;
    private readonly INetFpcService _service;
    private readonly IPacketService _packets;
    private readonly Action<string> _rejected;

    /// <param name="rejected">Told why a peer was disconnected.</param>
    public NetFpcServer(string socketPath, INetFpcService service, IPacketService packets, Action<string> rejected)
    {
        _service = service;
        _packets = packets;
        _rejected = rejected;
        File.Delete(socketPath);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        _listener.Listen(8);
        new Thread(Accept) { IsBackground = true, Name = "netfpc" }.Start();
    }

    public void Dispose() => _listener.Dispose();

    private void Accept()
    {
        try
        {
            while (true)
            {
                Socket peer = _listener.Accept();
                new Thread(() => Serve(peer)) { IsBackground = true, Name = "netfpc peer" }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Dispose.
        }
    }

    private void Serve(Socket peer)
    {
        using (peer)
        {
            try
            {
                while (NetFpcStream.TryReceive(peer, out NetFpcHeader h, out byte[] body))
                {
                    if (h.Reply)
                    {
                        throw new NetFpcProtocolException("a reply to a server");
                    }

                    if (h.SpokenVersion != NetFpcHeader.Version)
                    {
                        string line = $"the fast path speaks NETFPC version {NetFpcHeader.Version}, not {h.SpokenVersion}: use the fpctl of the same release, or start the instance anew";
                        NetFpcStream.Send(peer, new NetFpcHeader(true, h.Call, h.Id, 0, Errno.EPROTONOSUPPORT), Encoding.UTF8.GetBytes(line));
                        throw new NetFpcProtocolException($"version {h.SpokenVersion}");
                    }

                    (int errno, byte[] answer) = Answer(h.Call, body);
                    NetFpcStream.Send(peer, new NetFpcHeader(true, h.Call, h.Id, 0, errno), answer);
                }
            }
            catch (Exception e) when (e is NetFpcProtocolException or InvalidProtocolBufferException)
            {
                _rejected(e.Message);
            }
            catch (SocketException)
            {
                // The peer went away; its calls were whole or not at all.
            }
        }
    }

    private (int ErrorNumber, byte[] Body) Answer(NetFpcCall call, byte[] body)
    {
        try
        {
            IMessage reply = call switch
            {
                NetFpcCall.Ping => _service.Ping(Ping.Parser.ParseFrom(body)),
                NetFpcCall.SetPortMtu => _service.SetPortMtu(SetPortMtu.Parser.ParseFrom(body)),
                NetFpcCall.GetPortMtu => _service.GetPortMtu(GetPortMtu.Parser.ParseFrom(body)),
                NetFpcCall.AddPort => _service.AddPort(AddPort.Parser.ParseFrom(body)),
                NetFpcCall.DeletePort => _service.DeletePort(DeletePort.Parser.ParseFrom(body)),
                NetFpcCall.ListPorts => _service.ListPorts(ListPorts.Parser.ParseFrom(body)),
                NetFpcCall.SetPortPromiscuous => _service.SetPortPromiscuous(SetPortPromiscuous.Parser.ParseFrom(body)),
                NetFpcCall.SetPortWorkers => _service.SetPortWorkers(SetPortWorkers.Parser.ParseFrom(body)),
                NetFpcCall.SetPuntLimit => _service.SetPuntLimit(SetPuntLimit.Parser.ParseFrom(body)),
                NetFpcCall.Explain => _packets.Explain(Explain.Parser.ParseFrom(body)),
                NetFpcCall.StartTrace => _packets.StartTrace(StartTrace.Parser.ParseFrom(body)),
                NetFpcCall.PollTrace => _packets.PollTrace(PollTrace.Parser.ParseFrom(body)),
                NetFpcCall.StopTrace => _packets.StopTrace(StopTrace.Parser.ParseFrom(body)),
                _ => throw new LinuxException(Errno.EOPNOTSUPP, "NETFPC", $"call {(ushort)call} is not known to this version"),
            };
            return (0, reply.ToByteArray());
        }
        catch (NetFpcRefusedException e)
        {
            return (e.ErrorNumber, Encoding.UTF8.GetBytes(e.Message));
        }
        catch (LinuxException e)
        {
            return (e.ErrorNumber, Encoding.UTF8.GetBytes(e.Message));
        }
    }
}
