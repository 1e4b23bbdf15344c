using FastPathSync.Bpf;
using FastPathSync.Hosting;
using FastPathSync.Linux;

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
    private readonly ulong* _filter;
    private readonly HashSet<uint> _addresses = [];

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
            _filter = (ulong*)_holder.MapMemory(".data.filter");
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
        program.ShareMap(".data.filter", _holder.Map(".data.filter"));
        program.ShareMap("local_addresses", _holder.Map("local_addresses"));
    }

    /// <summary>
    /// Makes the set exactly this one. What is no longer ours leaves the map first, so that the map never holds more than
    /// the address table; a new address is in the map before its filter bit is set.
    /// </summary>
    /// <param name="addresses">Host byte order.</param>
    public void SetLocalAddresses(HashSet<uint> addresses)
    {
        BpfMap map = _holder.Map("local_addresses");
        foreach (uint a in _addresses.Where(a => !addresses.Contains(a)).ToArray())
        {
            map.Delete(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a));
            _addresses.Remove(a);
        }

        foreach (uint a in addresses)
        {
            if (_addresses.Add(a))
            {
                map.Update(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a), (byte)1);
            }
        }

        Span<ulong> words = stackalloc ulong[SharedMemory.Tables.LocalAddressFilter.Bytes / 8];
        words.Clear();
        foreach (uint a in addresses)
        {
            uint h = SharedMemory.Tables.LocalAddressFilter.Hash(a);
            words[(int)(h >> 6)] |= 1ul << (int)(h & 63);
        }

        new SharedMemory.Tables.LocalAddressFilter(_filter).Replace(words);
    }

    public void Dispose()
    {
        _holder.Dispose();
        _heartbeat.Dispose();
    }
}
