using System.Buffers.Binary;
using FastPathSync.Bpf;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Ports;

/// <summary>
/// What the XDP programs of all ports share: the alive word with its heartbeat timer, and the local addresses with their
/// filter. It owns the maps; the ports' programs borrow them.
/// </summary>
internal sealed unsafe class XdpShared : IDisposable
{
    private readonly BpfObject _heartbeat;
    private readonly BpfObject _holder;
    private readonly byte* _beats;
    private readonly ulong* _alive;
    private readonly LocalAddressFilter _filter4;
    private readonly LocalAddressFilter _filter6;
    private readonly HashSet<IpAddress> _addresses = [];

    public XdpShared()
    {
        _heartbeat = BpfObject.Open("heartbeat");
        _holder = BpfObject.Open("xdp_redirect");
        try
        {
            _heartbeat.Load();
            _beats = _heartbeat.MapMemory(".data.beats");
            _alive = (ulong*)_heartbeat.MapMemory(".data.alive");
            _holder.ShareMap(".data.alive", _heartbeat.Map(".data.alive"));
            _holder.Load();
            _filter4 = new LocalAddressFilter((ulong*)_holder.MapMemory(".data.filter"));
            _filter6 = new LocalAddressFilter((ulong*)_holder.MapMemory(".data.filter6"));
            if (_heartbeat.Program("heartbeat_arm").Run(new byte[14], [], out _) != 0)
            {
                throw new DaemonStartException(Errno.EOPNOTSUPP, "the kernel refused the eBPF heartbeat timer (bpf_timer needs Linux 5.15)");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether every watched worker makes progress, as the timer saw it last.</summary>
    public bool Alive => Volatile.Read(ref *_alive) != 0;

    public ulong* Beat(int worker) => (ulong*)(_beats + XdpLayout.BeatOffset(worker));

    /// <summary>From now on the heartbeat of workers 0 to count-1 is what keeps the fast path in force.</summary>
    public void Watch(int workers) => Volatile.Write(ref *(ulong*)_beats, (ulong)workers);

    public void ShareWith(BpfObject program)
    {
        program.ShareMap(".data.alive", _heartbeat.Map(".data.alive"));
        foreach (string map in (ReadOnlySpan<string>)[".data.filter", ".data.filter6", "local_addresses", "local_addresses6"])
        {
            program.ShareMap(map, _holder.Map(map));
        }
    }

    /// <summary>
    /// Makes the set exactly this one. What is no longer ours leaves the maps first, so that they never hold more than the
    /// address table; a new address is in its map before its filter bit is set.
    /// </summary>
    public void SetLocalAddresses(HashSet<IpAddress> addresses)
    {
        foreach (IpAddress a in _addresses.Where(a => !addresses.Contains(a)).ToArray())
        {
            Change(a, present: false);
            _addresses.Remove(a);
        }

        foreach (IpAddress a in addresses)
        {
            if (_addresses.Add(a))
            {
                Change(a, present: true);
            }
        }

        Refill(_filter4, addresses.Where(a => a.IsV4));
        Refill(_filter6, addresses.Where(a => !a.IsV4));
    }

    public void Dispose()
    {
        _holder.Dispose();
        _heartbeat.Dispose();
    }

    private static void Refill(LocalAddressFilter filter, IEnumerable<IpAddress> addresses)
    {
        Span<ulong> words = stackalloc ulong[LocalAddressFilter.Bytes / 8];
        words.Clear();
        foreach (IpAddress a in addresses)
        {
            uint h = LocalAddressFilter.Hash(a);
            words[(int)(h >> 6)] |= 1ul << (int)(h & 63);
        }

        filter.Replace(words);
    }

    /// <summary>The maps' keys stand in network byte order.</summary>
    private void Change(IpAddress a, bool present)
    {
        if (a.IsV4)
        {
            Change(_holder.Map("local_addresses"), BinaryPrimitives.ReverseEndianness(a.V4), present);
        }
        else
        {
            Change(_holder.Map("local_addresses6"), new IpAddress(BinaryPrimitives.ReverseEndianness(a.High), BinaryPrimitives.ReverseEndianness(a.Low)), present);
        }
    }

    private static void Change<TKey>(BpfMap map, TKey key, bool present)
        where TKey : unmanaged
    {
        if (present)
        {
            map.Update(key, (byte)1);
        }
        else
        {
            map.Delete(key);
        }
    }
}
