using System.Net.Sockets;
using Google.Protobuf;

namespace FastPathSync.Fpc;

/// <summary>A received frame. The body is valid until the next receive on the same connection.</summary>
public readonly ref struct FpcFrame(FpcHeader header, ReadOnlySpan<byte> body)
{
    public FpcHeader Header { get; } = header;

    public ReadOnlySpan<byte> Body { get; } = body;

    /// <exception cref="FpcProtocolException">The body is not a message of this type.</exception>
    public T Parse<T>(MessageParser<T> parser)
        where T : IMessage<T>
    {
        try
        {
            return parser.ParseFrom(Body);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new FpcProtocolException($"{Header.Type}: {e.Message}");
        }
    }
}

/// <summary>
/// Frames over a stream socket, blocking. One thread receives; any thread may send (a frame goes out whole).
/// </summary>
public sealed class FpcConnection(Socket socket) : IDisposable
{
    private readonly Lock _sending = new();
    private byte[] _out = new byte[64 * 1024];
    private byte[] _in = new byte[256 * 1024];
    private int _start;
    private int _end;
    private uint _sequence;

    /// <summary>Sends one frame and returns its sequence number.</summary>
    /// <exception cref="SocketException">The peer has gone.</exception>
    public uint Send(FpcType type, IMessage body, FpcFlags flags = FpcFlags.None, uint vrf = 0)
    {
        lock (_sending)
        {
            int length = body.CalculateSize();
            if (_out.Length < FpcHeader.Size + length)
            {
                _out = new byte[Math.Max(_out.Length * 2, FpcHeader.Size + length)];
            }

            uint sequence = ++_sequence;
            new FpcHeader(flags, type, sequence, (uint)length, vrf).Write(_out);
            body.WriteTo(_out.AsSpan(FpcHeader.Size, length));
            ReadOnlySpan<byte> rest = _out.AsSpan(0, FpcHeader.Size + length);
            while (!rest.IsEmpty)
            {
                rest = rest[socket.Send(rest)..];
            }

            return sequence;
        }
    }

    /// <summary>Waits for a frame. False when the peer has closed or gone.</summary>
    /// <exception cref="FpcProtocolException">The peer does not speak FPC.</exception>
    public bool TryReceive(out FpcFrame frame)
    {
        frame = default;
        if (!Fill(FpcHeader.Size))
        {
            return false;
        }

        FpcHeader h = FpcHeader.Parse(_in.AsSpan(_start, FpcHeader.Size));
        if (!Fill(FpcHeader.Size + (int)h.Length))
        {
            return false;
        }

        frame = new FpcFrame(h, _in.AsSpan(_start + FpcHeader.Size, (int)h.Length));
        _start += FpcHeader.Size + (int)h.Length;
        return true;
    }

    /// <summary>Whole bytes that were received and not handed out yet: more work is waiting.</summary>
    public bool HasBufferedInput => _end > _start || socket.Available > 0;

    /// <summary>Wakes a thread that waits in TryReceive; it returns false.</summary>
    public void Shutdown()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The peer was faster, or another thread of ours.
        }
    }

    public void Dispose() => socket.Dispose();

    /// <summary>Sees to it that this many bytes stand at _start.</summary>
    private bool Fill(int count)
    {
        if (_end - _start >= count)
        {
            return true;
        }

        if (_start > 0)
        {
            _in.AsSpan(_start, _end - _start).CopyTo(_in);
            _end -= _start;
            _start = 0;
        }

        if (_in.Length < count)
        {
            Array.Resize(ref _in, Math.Max(count, _in.Length * 2));
        }

        while (_end < count)
        {
            int n;
            try
            {
                n = socket.Receive(_in.AsSpan(_end));
            }
            catch (SocketException)
            {
                return false;
            }
            catch (ObjectDisposedException)
            {
                return false;
            }

            if (n == 0)
            {
                return false;
            }

            _end += n;
        }

        return true;
    }
}
