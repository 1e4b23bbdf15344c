using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>What became of many flows; reordered counts packets that came after a later one of their own flow, or twice.</summary>
public sealed record BundleReport(int Flows, int Sent, int Received, int Reordered)
{
    public int Missing => Sent - Received;

    public override string ToString() => $"{Flows} flows: sent {Sent}, received {Received}, reordered {Reordered}";
}

/// <summary>
/// Many UDP flows, each with sequence numbers of its own, from one namespace to another: a connected socket for each, so
/// that the kernel hashes each to a transmit queue of its own and keeps it there. Flows take turns with trains of packets,
/// so that a burst holds several of each flow. One thread sends, one receives.
/// </summary>
public sealed class FlowBundle : IDisposable
{
    private const int Train = 8, PauseMilliseconds = 10;
    private readonly Socket[] _senders;
    private readonly Socket _receiver;
    private readonly int[] _sent, _expected;
    private readonly Thread _sendThread, _receiveThread;
    private readonly int _rate;
    private volatile bool _stopSending, _stopReceiving;
    private volatile int _received, _reordered;

    private FlowBundle(Socket[] senders, Socket receiver, int rate)
    {
        (_senders, _receiver, _rate) = (senders, receiver, rate);
        (_sent, _expected) = (new int[senders.Length], new int[senders.Length]);
        _receiveThread = new Thread(Receive) { IsBackground = true, Name = "bundle-sink" };
        _sendThread = new Thread(Send) { IsBackground = true, Name = "bundle-source" };
        _receiveThread.Start();
        _sendThread.Start();
    }

    /// <param name="rate">Packets per second of all flows together.</param>
    public static FlowBundle Start(LabNamespace from, LabNamespace to, string destination, int port, int flows, int rate)
    {
        Socket receiver = to.Inside(() =>
        {
            Socket s = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 50 };
            const int SolSocket = 1, RcvBufForce = 33;
            s.SetRawSocketOption(SolSocket, RcvBufForce, BitConverter.GetBytes(16 << 20));
            s.Bind(new IPEndPoint(IPAddress.Any, port));
            return s;
        });
        Socket[] senders = from.Inside(() => Enumerable.Range(0, flows).Select(_ =>
        {
            Socket s = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { SendBufferSize = 1 << 20 };
            s.Connect(IPAddress.Parse(destination), port);
            return s;
        }).ToArray());
        return new FlowBundle(senders, receiver, rate);
    }

    /// <summary>Stops sending, waits for stragglers, and reports.</summary>
    public BundleReport Stop()
    {
        _stopSending = true;
        _sendThread.Join();
        int sent = _sent.Sum();
        Stopwatch clock = Stopwatch.StartNew();
        while (_received < sent && clock.ElapsedMilliseconds < 1000)
        {
            Thread.Sleep(20);
        }

        _stopReceiving = true;
        _receiveThread.Join();
        return new BundleReport(_senders.Length, sent, _received, _reordered);
    }

    public void Dispose()
    {
        _stopSending = true;
        _stopReceiving = true;
        _sendThread.Join();
        _receiveThread.Join();
        Array.ForEach(_senders, s => s.Dispose());
        _receiver.Dispose();
    }

    private void Send()
    {
        byte[] payload = new byte[18];
        long start = Stopwatch.GetTimestamp();
        for (long n = 0; !_stopSending; n++)
        {
            while (Stopwatch.GetElapsedTime(start).TotalSeconds * _rate < n && !_stopSending)
            {
                Thread.Sleep(PauseMilliseconds);
            }

            int flow = (int)(n / Train % _senders.Length);
            BinaryPrimitives.WriteInt32BigEndian(payload, flow);
            BinaryPrimitives.WriteInt32BigEndian(payload.AsSpan(4), _sent[flow]);
            try
            {
                _senders[flow].Send(payload);
            }
            catch (SocketException)
            {
                // No route for a moment: the number counts as lost.
            }

            _sent[flow]++;
        }
    }

    private void Receive()
    {
        byte[] buffer = new byte[2048];
        while (!_stopReceiving)
        {
            int n;
            try
            {
                n = _receiver.Receive(buffer);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
            {
                continue;
            }

            int flow = n >= 8 ? BinaryPrimitives.ReadInt32BigEndian(buffer) : -1;
            if ((uint)flow >= (uint)_expected.Length)
            {
                continue;
            }

            int number = BinaryPrimitives.ReadInt32BigEndian(buffer.AsSpan(4));
            if (number < _expected[flow])
            {
                _reordered++;
            }
            else
            {
                _expected[flow] = number + 1;
            }

            _received++;
        }
    }
}
