using System.Globalization;
using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>Six bytes, in the order in which they are sent (IEEE 802.3 §3.2.3).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public readonly record struct MacAddress(byte B0, byte B1, byte B2, byte B3, byte B4, byte B5)
{
    /// <summary>The low bit of the first byte: a group, or everybody.</summary>
    public bool IsMulticast => (B0 & 1) != 0;

    /// <summary>"02:00:00:00:00:01"</summary>
    public static bool TryParse(string text, out MacAddress mac)
    {
        string[] parts = text.Split(':');
        Span<byte> b = stackalloc byte[6];
        mac = default;
        if (parts.Length != 6)
        {
            return false;
        }

        for (int i = 0; i < 6; i++)
        {
            if (parts[i].Length != 2 || !byte.TryParse(parts[i], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out b[i]))
            {
                return false;
            }
        }

        mac = new(b[0], b[1], b[2], b[3], b[4], b[5]);
        return true;
    }

    public override string ToString() => $"{B0:x2}:{B1:x2}:{B2:x2}:{B3:x2}:{B4:x2}:{B5:x2}";
}
