using System.Net.Sockets;

namespace FastPathSync.NetFpc;

/// <summary>Whole frames over a stream socket; what client and server share.</summary>
internal static class NetFpcStream
{
    public static void Send(Socket socket, NetFpcHeader header, ReadOnlySpan<byte> body)
    {
        byte[] frame = new byte[NetFpcHeader.Size + body.Length];
        (header with { Length = (uint)body.Length }).Write(frame);
        body.CopyTo(frame.AsSpan(NetFpcHeader.Size));
        ReadOnlySpan<byte> rest = frame;
        while (!rest.IsEmpty)
        {
            rest = rest[socket.Send(rest)..];
        }
    }

    /// <summary>False when the peer has closed.</summary>
    public static bool TryReceive(Socket socket, out NetFpcHeader header, out byte[] body)
    {
        byte[] head = new byte[NetFpcHeader.Size];
        header = default;
        body = [];
        if (!Fill(socket, head))
        {
            return false;
        }

        header = NetFpcHeader.Parse(head);
        body = new byte[header.Length];
        return Fill(socket, body);
    }

    private static bool Fill(Socket socket, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            int n = socket.Receive(buffer);
            if (n == 0)
            {
                return false;
            }

            buffer = buffer[n..];
        }

        return true;
    }
}
