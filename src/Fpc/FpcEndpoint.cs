using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Fpc;

/// <summary>Where FPC is spoken: "unix:PATH" or "tcp:HOST:PORT" (IPv6 hosts in brackets).</summary>
public sealed record FpcEndpoint(EndPoint Address)
{
    public static FpcEndpoint Unix(string path) => new(new UnixDomainSocketEndPoint(path));

    /// <exception cref="FormatException">Neither form; the message says which forms there are.</exception>
    public static FpcEndpoint Parse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal) && text.Length > 5)
        {
            return Unix(text[5..]);
        }

        if (text.StartsWith("tcp:", StringComparison.Ordinal) && IPEndPoint.TryParse(text[4..], out IPEndPoint? ip) && ip.Port != 0)
        {
            return new FpcEndpoint(ip);
        }

        throw new FormatException($"'{text}' is no FPC endpoint; write unix:PATH or tcp:ADDRESS:PORT");
    }

    public Socket Connect()
    {
        Socket s = NewSocket();
        try
        {
            s.Connect(Address);
            return s;
        }
        catch
        {
            s.Dispose();
            throw;
        }
    }

    public Socket Listen()
    {
        Socket s = NewSocket();
        if (Address is UnixDomainSocketEndPoint unix)
        {
            File.Delete(unix.ToString());
        }

        s.Bind(Address);
        s.Listen(8);
        return s;
    }

    public override string ToString() => Address is UnixDomainSocketEndPoint ? $"unix:{Address}" : $"tcp:{Address}";

    private Socket NewSocket() => Address is UnixDomainSocketEndPoint
        ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        : new Socket(Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
}
