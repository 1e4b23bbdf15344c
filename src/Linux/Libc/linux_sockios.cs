using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>linux/sockios.h, linux/ethtool.h, linux/if_tun.h: further device ioctls.</summary>
public static unsafe partial class Libc
{
    public const nuint SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCSIFMTU = 0x8922, SIOCGIFHWADDR = 0x8927, SIOCGIFINDEX = 0x8933,
        SIOCETHTOOL = 0x8946, TUNSETIFF = 0x400454ca;
    public const short IFF_UP = 1, IFF_RUNNING = 0x40, IFF_PROMISC = 0x100, IFF_NOARP = 0x80, IFF_TAP = 2, IFF_NO_PI = 0x1000;
    public const uint ETHTOOL_GDRVINFO = 3, ETHTOOL_GGRO = 0x2b, ETHTOOL_GCHANNELS = 0x3c;

    /// <summary>The name and whichever member of the union the request uses.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 40)]
    public struct ifreq
    {
        [FieldOffset(0)]
        public fixed byte ifr_name[16];

        [FieldOffset(16)]
        public short ifr_flags;

        [FieldOffset(16)]
        public int ifr_mtu;

        [FieldOffset(16)]
        public int ifr_ifindex;

        [FieldOffset(16)]
        public ushort sa_family;

        [FieldOffset(18)]
        public fixed byte sa_data[14];

        [FieldOffset(16)]
        public void* ifr_data;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ethtool_value
    {
        public uint cmd;
        public uint data;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ethtool_channels
    {
        public uint cmd;
        public uint max_rx;
        public uint max_tx;
        public uint max_other;
        public uint max_combined;
        public uint rx_count;
        public uint tx_count;
        public uint other_count;
        public uint combined_count;
    }

    [StructLayout(LayoutKind.Sequential, Size = 196)]
    public struct ethtool_drvinfo
    {
        public uint cmd;
        public fixed byte driver[32];
    }
}
