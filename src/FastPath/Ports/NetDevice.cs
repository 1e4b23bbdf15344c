using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Ports;

/// <summary>What an interface is right now, straight from the kernel (device ioctls of the namespace of its creator).</summary>
internal sealed unsafe class NetDevice : IDisposable
{
    private readonly FileDescriptor _socket =
        FileDescriptor.FromCall(Libc.socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0), "socket(AF_INET)", "device ioctls");

    public static Libc.ifreq Request(string name)
    {
        Libc.ifreq r = default;
        int n = Encoding.UTF8.GetBytes(name, new Span<byte>(r.ifr_name, 15));
        r.ifr_name[n] = 0;
        return r;
    }

    /// <summary>0 when there is none of that name.</summary>
    public uint IndexOf(string name)
    {
        Libc.ifreq r = Request(name);
        return Libc.ioctl(_socket.Number, Libc.SIOCGIFINDEX, &r) >= 0 ? (uint)r.ifr_ifindex : 0;
    }

    /// <summary>False when the interface is gone.</summary>
    public bool TryGetFlags(string name, out short flags)
    {
        Libc.ifreq r = Request(name);
        bool ok = Libc.ioctl(_socket.Number, Libc.SIOCGIFFLAGS, &r) >= 0;
        flags = r.ifr_flags;
        return ok;
    }

    public bool TryGetMtu(string name, out int mtu)
    {
        Libc.ifreq r = Request(name);
        bool ok = Libc.ioctl(_socket.Number, Libc.SIOCGIFMTU, &r) >= 0;
        mtu = r.ifr_mtu;
        return ok;
    }

    /// <summary>The MAC with its first byte lowest, as the XDP program compares it; and the ARPHRD_* type.</summary>
    public bool TryGetAddress(string name, out ulong mac, out ushort type)
    {
        Libc.ifreq r = Request(name);
        bool ok = Libc.ioctl(_socket.Number, Libc.SIOCGIFHWADDR, &r) >= 0;
        type = r.sa_family;
        mac = 0;
        for (int i = 0; i < 6; i++)
        {
            mac |= (ulong)r.sa_data[i] << (8 * i);
        }

        return ok;
    }

    /// <summary>Queues in use in each direction; 1 for devices that tell of none.</summary>
    public (int Receive, int Transmit) Queues(string name)
    {
        Libc.ethtool_channels c = new() { cmd = Libc.ETHTOOL_GCHANNELS };
        Libc.ifreq r = Request(name);
        r.ifr_data = &c;
        return Libc.ioctl(_socket.Number, Libc.SIOCETHTOOL, &r) < 0
            ? (1, 1)
            : ((int)Math.Max(1, c.rx_count + c.combined_count), (int)Math.Max(1, c.tx_count + c.combined_count));
    }

    /// <summary>"veth"; empty when the driver tells no name.</summary>
    public string Driver(string name)
    {
        Libc.ethtool_drvinfo d = new() { cmd = Libc.ETHTOOL_GDRVINFO };
        Libc.ifreq r = Request(name);
        r.ifr_data = &d;
        return Libc.ioctl(_socket.Number, Libc.SIOCETHTOOL, &r) < 0 ? "" : Marshal.PtrToStringUTF8((nint)d.driver) ?? "";
    }

    /// <summary>Of the multicast groups that the interface listens to, their MAC addresses; in the namespace of the calling thread.</summary>
    public static List<byte[]> MulticastGroups(string name) =>
    [
        .. File.ReadLines("/proc/thread-self/net/dev_mcast")
            .Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)) // index, name, users, global users, address
            .Where(w => w.Length == 5 && w[1] == name)
            .Select(w => Convert.FromHexString(w[4])),
    ];

    /// <summary>Whether GRO is on.</summary>
    public bool MergesReceived(string name)
    {
        Libc.ethtool_value v = new() { cmd = Libc.ETHTOOL_GGRO };
        Libc.ifreq r = Request(name);
        r.ifr_data = &v;
        return Libc.ioctl(_socket.Number, Libc.SIOCETHTOOL, &r) >= 0 && v.data != 0;
    }

    public void SetMtu(string name, int mtu)
    {
        Libc.ifreq r = Request(name);
        r.ifr_mtu = mtu;
        LinuxException.ThrowIfNegative(Libc.ioctl(_socket.Number, Libc.SIOCSIFMTU, &r), "set MTU of", name);
    }

    public void SetFlags(string name, short flags)
    {
        Libc.ifreq r = Request(name);
        r.ifr_flags = flags;
        LinuxException.ThrowIfNegative(Libc.ioctl(_socket.Number, Libc.SIOCSIFFLAGS, &r), "set flags of", name);
    }

    public void Dispose() => _socket.Dispose();
}
