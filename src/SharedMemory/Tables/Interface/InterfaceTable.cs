using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>An interface name or another short kernel string, zero-padded.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Name16
{
    private fixed byte _bytes[16];

    public static Name16 From(string text)
    {
        Name16 n = default;
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        for (int i = 0; i < Math.Min(15, utf8.Length); i++)
        {
            n._bytes[i] = utf8[i];
        }

        return n;
    }

    public override readonly string ToString()
    {
        fixed (byte* p = _bytes)
        {
            ReadOnlySpan<byte> s = new(p, 16);
            int end = s.IndexOf((byte)0);
            return Encoding.UTF8.GetString(end < 0 ? s : s[..end]);
        }
    }
}

/// <summary>
/// All interfaces of the namespace, ports or not. Key: ifindex. Writer: fpmd. Readers: fpctl, hitflagsd, fpsd, and the
/// control thread of fastpath. Workers don't read it: what they need of an interface stands in adjacencies and VrfState.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct InterfaceRecord
{
    public const ushort NoPort = 0xffff;

    public uint IfIndex;
    public uint Mtu;
    public uint Flags;          // IFF_*
    public uint Master;
    public uint Link;
    public uint Mtu6;           // net.ipv6.conf.IF.mtu, 0: no IPv6 on it
    public ushort Type;         // ARPHRD_*
    public ushort PortId;       // NoPort unless the fast path serves it
    public byte OperState;      // IF_OPER_*
    public byte Forwarding;     // IPv4
    public byte Forwarding6;
    public byte IgnoreRoutesWithLinkdown6;
    public byte ProxyNdp;
    public byte Ipv6Disabled;
    public byte RpFilter;
    public byte IgnoreRoutesWithLinkdown;
    public byte ProxyArp;
    public byte AddressLength;
    public fixed byte Address[6];
    public Name16 Name;
    public Name16 Kind;
    public ulong Generation;

    public readonly bool IsUp => (Flags & 1) != 0;        // IFF_UP

    public readonly bool HasCarrier => (Flags & 0x10000) != 0;  // IFF_LOWER_UP
}
