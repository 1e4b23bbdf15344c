using System.Net.Sockets;
using System.Text;
using FastPathSync.Linux;
using FastPathSync.NetFpc.Protocol;
using Google.Protobuf;

namespace FastPathSync.NetFpc;

/// <summary>Calls into the fast path process: one connection per client, one call at a time, each with a timeout.</summary>
public sealed class NetFpcClient(string socketPath, TimeSpan timeout) : IDisposable
{
    private Socket? _socket;
    private uint _id;

    public PingReply Ping() => Call(NetFpcCall.Ping, new Ping(), PingReply.Parser, "fastpath");

    /// <param name="port">PortId; null: ifindex is one of the home VRF.</param>
    public PortMtuReply SetPortMtu(uint ifindex, uint mtu, uint? port = null)
    {
        SetPortMtu request = new() { Ifindex = ifindex, Mtu = mtu };
        if (port is uint p)
        {
            request.Port = p;
        }

        return Call(NetFpcCall.SetPortMtu, request, PortMtuReply.Parser, $"ifindex {ifindex}");
    }

    /// <param name="port">PortId; null: ifindex is one of the home VRF.</param>
    public PortMtuReply GetPortMtu(uint ifindex, uint? port = null)
    {
        GetPortMtu request = new() { Ifindex = ifindex };
        if (port is uint p)
        {
            request.Port = p;
        }

        return Call(NetFpcCall.GetPortMtu, request, PortMtuReply.Parser, $"ifindex {ifindex}");
    }

    /// <param name="port">PortId.</param>
    /// <param name="name">[VRF/]IF</param>
    /// <returns>False: the tables of its VRF are not there yet; to be repeated.</returns>
    public bool AddPort(uint port, string name) => Call(NetFpcCall.AddPort, new AddPort { Port = port, Name = name }, AddPortReply.Parser, $"port {name}").Served;

    public void DeletePort(uint port) => Call(NetFpcCall.DeletePort, new DeletePort { Port = port }, DeletePortReply.Parser, $"port {port}");

    public IReadOnlyList<PortInfo> ListPorts() => Call(NetFpcCall.ListPorts, new ListPorts(), PortList.Parser, "fastpath").Ports;

    /// <param name="port">PortId.</param>
    public PortInfo SetPortPromiscuous(uint port, bool on) =>
        Call(NetFpcCall.SetPortPromiscuous, new SetPortPromiscuous { Port = port, On = on }, PortInfo.Parser, $"port {port}");

    /// <param name="port">PortId.</param>
    /// <param name="workers">By receive queue.</param>
    public PortInfo SetPortWorkers(uint port, IEnumerable<uint> workers) =>
        Call(NetFpcCall.SetPortWorkers, new SetPortWorkers { Port = port, Workers = { workers } }, PortInfo.Parser, $"port {port}");

    /// <param name="reason">A PuntReason; null: all.</param>
    /// <param name="rate">Packets per second; 0: no limit; null: the default.</param>
    /// <param name="burst">Null: a tenth of a second's packets.</param>
    public void SetPuntLimit(uint? reason, uint? rate, uint? burst)
    {
        SetPuntLimit request = new();
        if (reason is uint r)
        {
            request.Reason = r;
        }

        if (rate is uint q)
        {
            request.Rate = q;
        }

        if (burst is uint b)
        {
            request.Burst = b;
        }

        Call(NetFpcCall.SetPuntLimit, request, SetPuntLimitReply.Parser, "punt limit");
    }

    /// <param name="port">PortId.</param>
    public IReadOnlyList<ExplainedPacket> Explain(uint port, IEnumerable<ReadOnlyMemory<byte>> frames)
    {
        Explain request = new() { Port = port };
        request.Frames.AddRange(frames.Select(f => ByteString.CopyFrom(f.Span)));
        return Call(NetFpcCall.Explain, request, ExplainReply.Parser, $"port {port}").Packets;
    }

    public TraceStarted StartTrace(StartTrace request) => Call(NetFpcCall.StartTrace, request, TraceStarted.Parser, "trace");

    public TracedPackets PollTrace(uint id) => Call(NetFpcCall.PollTrace, new PollTrace { Id = id }, TracedPackets.Parser, $"trace {id}");

    public void StopTrace(uint id) => Call(NetFpcCall.StopTrace, new StopTrace { Id = id }, TraceStopped.Parser, $"trace {id}");

    public void Dispose() => _socket?.Dispose();

    /// <exception cref="NetFpcRefusedException">The fast path can't do it.</exception>
    /// <exception cref="LinuxException">It did not answer in time (ETIMEDOUT), or is not there.</exception>
    private T Call<T>(NetFpcCall call, IMessage request, MessageParser<T> parser, string subject)
        where T : IMessage<T>
    {
        try
        {
            Socket s = _socket ??= Connect();
            uint id = ++_id;
            NetFpcStream.Send(s, new NetFpcHeader(false, call, id, 0, 0), request.ToByteArray());
            while (NetFpcStream.TryReceive(s, out NetFpcHeader h, out byte[] body))
            {
                if (h.SpokenVersion != NetFpcHeader.Version)
                {
                    Drop();
                    throw new NetFpcRefusedException(
                        Errno.EPROTONOSUPPORT, $"the fast path speaks NETFPC version {h.SpokenVersion}, not {NetFpcHeader.Version}: use the fpctl of the same release, or start the instance anew");
                }

                if (!h.Reply || h.Id != id)
                {
                    continue; // the late answer to a call that timed out
                }

                return h.ErrorNumber == 0
                    ? parser.ParseFrom(body)
                    : throw new NetFpcRefusedException(h.ErrorNumber, Encoding.UTF8.GetString(body));
            }

            throw new LinuxException(Errno.ECONNRESET, $"NETFPC {call}", subject);
        }
        catch (SocketException e)
        {
            Drop();
            throw new LinuxException(e.SocketErrorCode == SocketError.TimedOut ? Errno.ETIMEDOUT : e.NativeErrorCode, $"NETFPC {call}", subject);
        }
        catch (Exception e) when (e is NetFpcProtocolException or InvalidProtocolBufferException)
        {
            Drop();
            throw new LinuxException(Errno.EPROTO, $"NETFPC {call}", $"{subject} ({e.Message})");
        }
        catch (LinuxException e) when (e.ErrorNumber == Errno.ECONNRESET)
        {
            Drop();
            throw;
        }
    }

    private void Drop()
    {
        _socket?.Dispose();
        _socket = null;
    }

    private Socket Connect()
    {
        Socket s = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        {
            ReceiveTimeout = (int)timeout.TotalMilliseconds,
            SendTimeout = (int)timeout.TotalMilliseconds,
        };
        s.Connect(new UnixDomainSocketEndPoint(socketPath));
        return s;
    }
}
