using FastPathSync.Bpf;

namespace FastPathSync.FastPath.Ports;

/// <summary>
/// What the XDP programs of one VRF's ports share beside the heartbeat: the local addresses with their filter. It owns the
/// maps; the ports' programs borrow them.
/// </summary>
internal sealed unsafe class XdpShared : IDisposable
{
    private readonly XdpHeartbeat _heartbeat;
    private readonly BpfObject _holder;
    private readonly ulong* _filter;
    private readonly HashSet<uint> _addresses = [];

    public XdpShared(XdpHeartbeat heartbeat)
    {
        _heartbeat = heartbeat;
        _holder = BpfObject.Open("xdp_redirect");
        try
        {
            _heartbeat.ShareWith(_holder);
            _holder.Load();
            _filter = (ulong*)_holder.MapMemory(".data.filter");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void ShareWith(BpfObject program)
    {
        _heartbeat.ShareWith(program);
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

    public void Dispose() => _holder.Dispose();
}
