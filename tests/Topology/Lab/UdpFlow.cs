using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>What became of a flow.</summary>
public sealed record FlowReport(int Sent, int Received, int Duplicates, TimeSpan LongestGap)
{
    public int Missing => Sent - Received;

    public override string ToString() =>
        $"sent {Sent}, received {Received}, missing {Missing}, duplicates {Duplicates}, longest gap {LongestGap.TotalMilliseconds:0.0} ms";
}

/// <summary>
/// UDP datagrams with sequence numbers from one namespace to another at a steady, modest rate: a thread sends, a thread
/// receives and notes the time of each number's arrival.
/// </summary>
public sealed class UdpFlow : IDisposable
{
    private readonly Socket _sender, _receiver;
    private readonly Thread _sendThread, _receiveThread;
    private readonly IPEndPoint _destination;
    private readonly int _rate, _limit, _payloadBytes;
    private readonly long[] _arrivals;
    private volatile bool _stopSending, _stopReceiving;
    private volatile int _sent, _received, _duplicates;

    private UdpFlow(Socket sender, Socket receiver, IPEndPoint destination, int rate, int limit, int payloadBytes)
    {
        (_sender, _receiver, _destination, _rate, _limit, _payloadBytes) = (sender, receiver, destination, rate, limit, payloadBytes);
        _arrivals = new long[limit];
        _receiveThread = new Thread(Receive) { IsBackground = true, Name = "flow-sink" };
        _sendThread = new Thread(Send) { IsBackground = true, Name = "flow-source" };
        _receiveThread.Start();
        _sendThread.Start();
    }

    public int Sent => _sent;

    public int Received => _received;

    /// <summary>Packets per second, as many as fit in <paramref name="limit"/> or until stopped.</summary>
    public static UdpFlow Start(LabNamespace from, LabNamespace to, string destination, int port, int rate, int limit = 600_000, int payloadBytes = 18)
    {
        Socket receiver = to.Inside(() =>
        {
            Socket s = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 50 };
            const int SolSocket = 1, RcvBufForce = 33;
            s.SetRawSocketOption(SolSocket, RcvBufForce, BitConverter.GetBytes(16 << 20));
            s.Bind(new IPEndPoint(IPAddress.Any, port));
            return s;
        });
        Socket sender = from.Inside(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { SendBufferSize = 1 << 20 });
        return new UdpFlow(sender, receiver, new IPEndPoint(IPAddress.Parse(destination), port), rate, limit, payloadBytes);
    }

    /// <summary>Waits for all of its limit to be sent, then reports.</summary>
    public FlowReport Finish()
    {
        _sendThread.Join();
        return Stop();
    }

    /// <summary>Stops sending, waits for stragglers, and reports.</summary>
    public FlowReport Stop()
    {
        _stopSending = true;
        _sendThread.Join();
        Stopwatch clock = Stopwatch.StartNew();
        int last = -1;
        while (_received < _sent && clock.ElapsedMilliseconds < 2000 && (last != _received || clock.ElapsedMilliseconds < 500))
        {
            last = _received;
            Thread.Sleep(100);
        }

        _stopReceiving = true;
        _receiveThread.Join();
        return Report(0, _sent);
    }

    /// <summary>For numbers in [from, to): how many came, and the longest time between two arrivals.</summary>
    public FlowReport Report(int from, int to)
    {
        long[] times = [.. _arrivals[from..to].Where(t => t != 0)];
        Array.Sort(times);
        long longest = 0;
        for (int i = 1; i < times.Length; i++)
        {
            longest = Math.Max(longest, times[i] - times[i - 1]);
        }

        return new FlowReport(to - from, times.Length, _duplicates, TimeSpan.FromSeconds((double)longest / Stopwatch.Frequency));
    }

    /// <summary>When the last packet so far arrived (Stopwatch ticks), 0 before the first.</summary>
    public long LastArrival => _arrivals.AsSpan(0, _sent).ToArray().Max();

    /// <summary>Waits until packets arrive that were sent from now on.</summary>
    public void WaitFlowing(double seconds = 2)
    {
        int from = _sent;
        Wait.Until(() => _sent > from && _arrivals.AsSpan(from, _sent - from).ContainsAnyExcept(0L), TimeSpan.FromSeconds(seconds), $"packets to {_destination} arrive", TimeSpan.FromMilliseconds(2));
    }

    /// <summary>Waits until nothing has arrived for 150 ms, and says how long after the call the last packet came.</summary>
    public TimeSpan WaitStopped(double seconds = 3)
    {
        long start = Stopwatch.GetTimestamp();
        Wait.Until(
            () => Stopwatch.GetElapsedTime(Math.Max(start, LastArrival)) > TimeSpan.FromMilliseconds(150),
            TimeSpan.FromSeconds(seconds),
            $"packets to {_destination} stop arriving");
        long last = LastArrival;
        return last <= start ? TimeSpan.Zero : TimeSpan.FromSeconds((double)(last - start) / Stopwatch.Frequency);
    }

    public void Dispose()
    {
        _stopSending = true;
        _stopReceiving = true;
        _sendThread.Join();
        _receiveThread.Join();
        _sender.Dispose();
        _receiver.Dispose();
    }

    private void Send()
    {
        byte[] payload = new byte[_payloadBytes];
        SocketAddress to = _destination.Serialize();
        long start = Stopwatch.GetTimestamp();
        while (!_stopSending && _sent < _limit)
        {
            double due = Stopwatch.GetElapsedTime(start).TotalSeconds * _rate;
            if (_sent >= due)
            {
                Thread.Sleep(_rate >= 2000 ? 1 : Math.Clamp(500 / _rate, 1, 20));
                continue;
            }

            BinaryPrimitives.WriteInt32BigEndian(payload, _sent);
            try
            {
                _sender.SendTo(payload, SocketFlags.None, to);
            }
            catch (SocketException)
            {
                // No route, or the link is down for a moment: the number counts as lost.
            }

            _sent++;
        }
    }

    private void Receive()
    {
        byte[] buffer = new byte[2048];
        SocketAddress from = new(AddressFamily.InterNetwork);
        while (!_stopReceiving)
        {
            int n;
            try
            {
                n = _receiver.ReceiveFrom(buffer, SocketFlags.None, from);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
            {
                continue;
            }

            int number = n >= 4 ? BinaryPrimitives.ReadInt32BigEndian(buffer) : -1;
            if ((uint)number >= (uint)_arrivals.Length)
            {
                continue;
            }

            if (_arrivals[number] != 0)
            {
                _duplicates++;
            }
            else
            {
                _arrivals[number] = Stopwatch.GetTimestamp();
                _received++;
            }
        }
    }
}
