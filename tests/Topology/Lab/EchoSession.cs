using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>As ssh with somebody who types: a key goes to the other side, and its echo comes back, over TCP.</summary>
public sealed class EchoSession : IDisposable
{
    private readonly Socket _typist;
    private readonly Socket _shell;

    /// <param name="address">Of the other side, to listen at.</param>
    public EchoSession(LabNamespace near, LabNamespace far, string address)
    {
        using Socket listener = far.Inside(Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Parse(address), 0));
        listener.Listen();
        _typist = near.Inside(Tcp);
        _typist.Connect(listener.LocalEndPoint!);
        _shell = listener.Accept();
        (_typist.NoDelay, _typist.ReceiveTimeout) = (true, 10_000);
        (_shell.NoDelay, _shell.ReceiveTimeout) = (true, 10_000);
    }

    /// <summary>How long it took until the echo was there.</summary>
    public TimeSpan Type()
    {
        byte[] key = [42];
        long start = Stopwatch.GetTimestamp();
        _typist.Send(key);
        _shell.Receive(key);
        _shell.Send(key);
        _typist.Receive(key);
        return Stopwatch.GetElapsedTime(start);
    }

    public void Dispose()
    {
        _typist.Dispose();
        _shell.Dispose();
    }

    private static Socket Tcp() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
}
