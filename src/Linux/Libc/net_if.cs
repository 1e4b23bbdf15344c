using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>net/if.h: the interface requests of ioctl(2), for programs that look at one interface and need no netlink.</summary>
public static unsafe partial class Libc
{
    public const nuint SIOCGIFMTU = 0x8921;

    /// <summary>struct ifreq with the member ifr_mtu.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 40)]
    public struct ifreq_mtu
    {
        public fixed byte ifr_name[16];
        public int ifr_mtu;
    }
}
