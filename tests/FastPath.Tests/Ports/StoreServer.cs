using System.Buffers.Binary;
using System.Text;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.FastPath.Tests.Ports;

/// <summary>The supervisor's segment store, without a supervisor: so that a fast path can run beside nothing but hand-made tables.</summary>
internal sealed class StoreServer : IDisposable
{
    private readonly Dictionary<string, FileDescriptor> _files = [];
    private readonly FileDescriptor _listener;
    private volatile bool _stop;

    public StoreServer(string path)
    {
        _listener = UnixSocket.Listen(path);
        Path = path;
        new Thread(Serve) { IsBackground = true }.Start();
    }

    public string Path { get; }

    public Segment Attach(string name, SegmentKind kind)
    {
        lock (_files)
        {
            return Segment.Attach(name, _files[name].Duplicate(), kind, writable: false);
        }
    }

    public void Put(Segment s)
    {
        lock (_files)
        {
            _files[s.Name] = s.File.Duplicate();
        }
    }

    public void Dispose()
    {
        _stop = true;
        try
        {
            UnixSocket.Connect(Path).Dispose();
        }
        catch (LinuxException)
        {
        }
    }

    private void Serve()
    {
        while (!_stop)
        {
            using FileDescriptor peer = UnixSocket.Accept(_listener);
            byte[] packet = new byte[256];
            int n = UnixSocket.Receive(peer, packet, out FileDescriptor? passed);
            if (n < 2 || packet[0] > SegmentStore.Keep)
            {
                continue;
            }

            string name = Encoding.UTF8.GetString(packet, 1, n - 1);
            byte[] reply = new byte[4];
            lock (_files)
            {
                if (packet[0] == SegmentStore.Get)
                {
                    bool found = _files.TryGetValue(name, out FileDescriptor? file);
                    BinaryPrimitives.WriteInt32BigEndian(reply, found ? 0 : Errno.ENOENT);
                    UnixSocket.Send(peer, reply, file);
                }
                else
                {
                    _files[name] = passed!;
                    UnixSocket.Send(peer, reply);
                }
            }
        }

        _listener.Dispose();
    }
}
