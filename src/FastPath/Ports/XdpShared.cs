using System.Buffers.Binary;
using FastPathSync.Bpf;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Ports;

/// <summary>
/// What the XDP programs of one VRF's ports share beside the heartbeat: the local addresses with their filter. It owns the
/// maps; the ports' programs borrow them.
/// </summary>
internal sealed unsafe class XdpShared : IDisposable
{
    private readonly XdpHeartbeat _heartbeat;
    private readonly BpfObject _holder;
    private readonly LocalAddressFilter _filter4;
    private readonly LocalAddressFilter _filter6;
    private readonly HashSet<IpAddress> _addresses = [];

    public XdpShared(XdpHeartbeat heartbeat)
    {
        _heartbeat = heartbeat;
        _holder = BpfObject.Open("xdp_redirect");
        try
        {
            _heartbeat.ShareWith(_holder);
            _holder.Load();
            _filter4 = new LocalAddressFilter((ulong*)_holder.MapMemory(".data.filter"));
            _filter6 = new LocalAddressFilter((ulong*)_holder.MapMemory(".data.filter6"));
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

    public void Dispose() => _holder.Dispose();

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
