namespace FastPathSync.Differential;

/// <summary>What goes wrong with a sound packet: cut, lengthened, bytes changed, lengths and versions that lie.</summary>
internal static class Damage
{
    public static (byte[] Frame, string How) Apply(byte[] frame, Dice dice)
    {
        byte[] f = [.. frame];
        string how;
        bool ipv4 = f.Length > 13 && f[12] == 8;
        switch (dice.Below(7))
        {
            case 0:
                f = f[..dice.Between(14, f.Length)];
                how = " cut";
                break;
            case 1:
                f = [.. f, .. dice.Bytes(dice.Between(1, 60))];
                how = " longer";
                break;
            case 2 when f.Length > 34:
                f[14 + dice.Below(20)] = (byte)dice.Below(256);
                how = " header byte";
                break;
            case 3 when f.Length > 14:
                f[14] = (byte)dice.Pick(0x45, 0x44, 0x46, 0x4f, 0x40, 0x55, 0x65, 0x35, 0x05, 0x60);
                how = " version or header length";
                break;
            case 4 when f.Length > 20:
                int at = ipv4 ? 16 : 18;
                int length = (f[at] << 8 | f[at + 1]) + dice.Pick(-1, 1, -8, 8, -40, 100, 3000, -f.Length);
                (f[at], f[at + 1]) = ((byte)(length >> 8), (byte)length);
                how = " length";
                break;
            case 5 when f.Length > 26:
                f[24] ^= (byte)dice.Between(1, 255);
                return (f, " checksum");
            default:
                f[dice.Between(Math.Min(14, f.Length - 1), f.Length - 1)] ^= (byte)(1 << dice.Below(8));
                how = " bit";
                break;
        }

        if (ipv4 && !dice.OneIn(3))
        {
            // So that the checks behind the checksum's are reached.
            FrameBuilder.MendIpv4Checksum(f);
        }

        return (f, how);
    }
}
