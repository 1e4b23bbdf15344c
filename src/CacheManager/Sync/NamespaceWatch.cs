using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Sync;

/// <summary>
/// Follows the named namespaces: which of those that concern us are there, and which inode is behind each name. It is told by
/// inotify, and looks all the same every now and then.
/// </summary>
/// <remarks>
/// `ip netns add` makes the file first and mounts the namespace on it then, which nobody announces: a file that is no namespace
/// yet is looked at again soon, for a while.
/// </remarks>
public sealed unsafe class NamespaceWatch : IDisposable
{
    private const int FullLookMilliseconds = 2000, PendingMilliseconds = 10, CoalesceMilliseconds = 10, PendingLooks = 100;

    private readonly Func<string, bool> _concerns;
    private readonly ulong _home;
    private readonly Action _changed;
    private readonly FileDescriptor _inotify =
        FileDescriptor.FromCall(Libc.inotify_init1(Libc.IN_CLOEXEC | Libc.IN_NONBLOCK), "inotify_init1", NetworkNamespace.Directory);
    private readonly Dictionary<string, int> _pending = []; // name, looks so far
    private readonly Thread _thread;
    private Dictionary<string, ulong> _known = [];
    private volatile Dictionary<string, ulong> _now = [];
    private bool _watching;
    private volatile bool _stop;

    /// <param name="concerns">Whether a namespace of that name is to be mirrored.</param>
    /// <param name="home">Inode of the home VRF, which is mirrored by another name.</param>
    /// <param name="changed">Called (on the thread of this) when Now has changed.</param>
    public NamespaceWatch(Func<string, bool> concerns, ulong home, Action changed)
    {
        _concerns = concerns;
        _home = home;
        _changed = changed;
        Look(full: true, []);
        _thread = new Thread(Run) { IsBackground = true, Name = "namespaces" };
        _thread.Start();
    }

    /// <summary>Name and inode of each; a namespace with two names stands under the first. Any thread may read it.</summary>
    public IReadOnlyDictionary<string, ulong> Now => _now;

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _inotify.Dispose();
    }

    private void Run()
    {
        ulong nextFull = 0;
        while (!_stop)
        {
            if (!_watching)
            {
                _watching = Libc.inotify_add_watch(
                    _inotify.Number, NetworkNamespace.Directory, Libc.IN_CREATE | Libc.IN_DELETE | Libc.IN_MOVED_FROM | Libc.IN_MOVED_TO) >= 0;
            }

            bool soon = _pending.Values.Any(looks => looks < PendingLooks);
            Libc.pollfd p = new() { fd = _inotify.Number, events = Libc.POLLIN };
            bool told = Libc.poll(&p, 1, soon ? PendingMilliseconds : 200) > 0;
            HashSet<string> named = [];
            if (told)
            {
                Thread.Sleep(CoalesceMilliseconds); // a burst costs a few looks, not one for each
                ReadNames(named);
            }

            bool full = MonotonicClock.Nanoseconds >= nextFull;
            if (full)
            {
                nextFull = MonotonicClock.Nanoseconds + (FullLookMilliseconds * 1_000_000ul);
            }

            if ((told || full || soon) && Look(full, named))
            {
                _changed();
            }
        }
    }

    /// <summary>Which names inotify speaks of: what is known of those is no longer believed.</summary>
    private void ReadNames(HashSet<string> names)
    {
        byte[] buffer = new byte[64 << 10];
        fixed (byte* b = buffer)
        {
            nint n;
            while ((n = Libc.read(_inotify.Number, b, (nuint)buffer.Length)) > 0)
            {
                for (byte* at = b; at < b + n;)
                {
                    Libc.inotify_event* e = (Libc.inotify_event*)at;
                    ReadOnlySpan<byte> name = new(at + sizeof(Libc.inotify_event), (int)e->len);
                    int end = name.IndexOf((byte)0);
                    names.Add(Encoding.UTF8.GetString(end < 0 ? name : name[..end]));
                    at += sizeof(Libc.inotify_event) + e->len;
                }
            }
        }
    }

    /// <returns>True when Now has changed.</returns>
    private bool Look(bool full, HashSet<string> named)
    {
        Dictionary<string, ulong> found = [];
        HashSet<ulong> inodes = [_home];
        HashSet<string> files = [];
        foreach (string name in NetworkNamespace.Names(NetworkNamespace.Directory))
        {
            if (!_concerns(name))
            {
                continue;
            }

            files.Add(name);
            ref int looks = ref CollectionsMarshal.GetValueRefOrNullRef(_pending, name);
            bool pending = !System.Runtime.CompilerServices.Unsafe.IsNullRef(ref looks);
            if (!full && !pending && !named.Contains(name) && _known.TryGetValue(name, out ulong inode))
            {
                if (inodes.Add(inode))
                {
                    found[name] = inode;
                }

                continue;
            }

            if (NetworkNamespace.TryInode(name) is not ulong now)
            {
                _pending[name] = pending ? looks + 1 : 1;
                continue;
            }

            _pending.Remove(name);
            if (inodes.Add(now))
            {
                found[name] = now;
            }
        }

        foreach (string gone in _pending.Keys.Where(n => !files.Contains(n)).ToList())
        {
            _pending.Remove(gone);
        }

        bool changed = found.Count != _known.Count || found.Any(f => !_known.TryGetValue(f.Key, out ulong inode) || inode != f.Value);
        _known = found;
        _now = found;
        return changed;
    }
}
