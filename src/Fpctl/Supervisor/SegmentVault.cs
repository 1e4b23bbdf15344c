using System.Text;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>The server side of SegmentStore: descriptors by name. As long as one is kept here, its memory lives.</summary>
internal sealed class SegmentVault : IDisposable
{
    private const int MaximumSegments = 2 * Capacities.Vrfs;
    private readonly Dictionary<string, FileDescriptor> _segments = [];

    public int Count => _segments.Count;

    /// <summary>Handles one request. Returns the errno to reply; for GET the descriptor to pass.</summary>
    public int Handle(byte operation, ReadOnlySpan<byte> nameBytes, FileDescriptor? passed, out FileDescriptor? reply)
    {
        reply = null;
        string name = Encoding.UTF8.GetString(nameBytes);
        if (operation == SegmentStore.Get)
        {
            passed?.Dispose();
            return _segments.TryGetValue(name, out reply) ? 0 : Errno.ENOENT;
        }

        if (operation == SegmentStore.Drop)
        {
            passed?.Dispose();
            if (_segments.Remove(name, out FileDescriptor? gone))
            {
                gone.Dispose();
            }

            return 0;
        }

        if (passed is null || operation is not (SegmentStore.Put or SegmentStore.Keep) || name.Length == 0)
        {
            passed?.Dispose();
            return Errno.EINVAL;
        }

        if (_segments.TryGetValue(name, out FileDescriptor? old))
        {
            if (operation == SegmentStore.Keep)
            {
                passed.Dispose();
                return Errno.EEXIST;
            }

            old.Dispose();
        }
        else if (_segments.Count == MaximumSegments)
        {
            passed.Dispose();
            return Errno.ENOSPC;
        }

        _segments[name] = passed;
        return 0;
    }

    public void Dispose()
    {
        foreach (FileDescriptor f in _segments.Values)
        {
            f.Dispose();
        }

        _segments.Clear();
    }
}
