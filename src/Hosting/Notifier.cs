using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.Hosting;

/// <summary>sd_notify(3): tells whoever started us (our supervisor, or systemd) how we do. Without $NOTIFY_SOCKET it does nothing.</summary>
public sealed unsafe class Notifier : IDisposable
{
    public const string Variable = "NOTIFY_SOCKET";
    private readonly FileDescriptor? _socket;
    private readonly byte[] _path;
    private volatile string? _lastReady;

    public Notifier(string? path)
    {
        _path = Encoding.UTF8.GetBytes(path ?? "");
        if (_path.Length is > 0 and < 108)
        {
            _socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0), "socket", path!);
        }
    }

    public void Ready(string status)
    {
        _lastReady = $"READY=1\nSTATUS={OneLine(status)}\n";
        Send(_lastReady);
    }

    public void Status(string status)
    {
        if (_lastReady is not null)
        {
            _lastReady = $"READY=1\nSTATUS={OneLine(status)}\n";
        }

        Send($"STATUS={OneLine(status)}\n");
    }

    /// <summary>Says again what a supervisor that has just started may have missed.</summary>
    public void Repeat()
    {
        if (_lastReady is string last)
        {
            Send(last);
        }
    }

    public void Stopping() => Send("STOPPING=1\n");

    public void Failed(int errno, string line) => Send($"STATUS={OneLine(line)}\nERRNO={errno}\n");

    public void Dispose() => _socket?.Dispose();

    private static string OneLine(string text) => text.ReplaceLineEndings(" ");

    private void Send(string text)
    {
        if (_socket is null)
        {
            return;
        }

        Libc.sockaddr_un a = new() { sun_family = Libc.AF_UNIX };
        for (int i = 0; i < _path.Length; i++)
        {
            a.sun_path[i] = _path[i];
        }

        if (_path[0] == (byte)'@')
        {
            a.sun_path[0] = 0; // the abstract namespace, as systemd spells it
        }

        // Nobody may be there just now; Repeat says it again.
        byte[] bytes = Encoding.UTF8.GetBytes($"{text}MAINPID={Libc.getpid()}\n");
        uint length = (uint)(2 + _path.Length + (_path[0] == (byte)'@' ? 0 : 1));
        fixed (byte* p = bytes)
        {
            _ = Libc.sendto(_socket.Number, p, (nuint)bytes.Length, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT, &a, length);
        }
    }
}
