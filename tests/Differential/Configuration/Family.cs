using System.Net;

namespace FastPathSync.Differential;

/// <summary>The address plan of one IP version: which addresses and prefixes commands and packets are made of.</summary>
/// <remarks>
/// Port N is 10.0.N.1/24 and 2001:db8:N::1/64; hosts on its cable end in 2 and more, those from 200 on are dead (see
/// <see cref="Hosts"/>); networks behind host 2 of port N are 10.20N.0.0/16 and 2001:db8:20N::/48. Routes are made up inside
/// 10.64.0.0/14 and 2001:db8:6400::/40, so that they nest.
/// </remarks>
internal abstract class Family
{
    public static readonly Family Ipv4 = new Ipv4Family(), Ipv6 = new Ipv6Family();
    public static readonly IReadOnlyList<Family> Both = [Ipv4, Ipv6];

    /// <summary>Hosts on each cable that routes lead to.</summary>
    public const int FirstHost = 2, LiveHosts = 5;

    /// <summary>How a command of this family begins: "ip -4".</summary>
    public abstract string Ip { get; }

    public abstract string Suffix { get; }

    public abstract int Bits { get; }

    public abstract string Sysctl { get; }

    public abstract string OwnAddress(int port);

    public abstract string Host(int port, int host);

    public abstract string LinkPrefix(int port);

    public abstract string BehindPrefix(int port);

    public abstract string RandomPrefix(Dice dice);

    public abstract IReadOnlyList<string> OddAddresses { get; }

    public string LiveHost(int port, Dice dice) => Host(port, dice.Between(FirstHost, FirstHost + LiveHosts - 1));

    public string DeadHost(int port, Dice dice) => Host(port, Hosts.FirstDead + dice.Below(3));

    /// <summary>A gateway or neighbour: mostly one that answers.</summary>
    public string AnyHost(int port, Dice dice) => dice.OneIn(8) ? DeadHost(port, dice) : LiveHost(port, dice);

    /// <summary>An address inside a prefix: at its edges, one beyond, or in the midst.</summary>
    public static string Inside(string prefix, Dice dice) => Inside(prefix, dice, dice.Below(10));

    /// <summary>An address inside a prefix, each as likely as any other.</summary>
    public static string Anywhere(string prefix, Dice dice) => Inside(prefix, dice, kind: -1);

    /// <summary>A prefix inside another, up to eight bits longer.</summary>
    public static string Below(string prefix, Dice dice)
    {
        byte[] address = IPAddress.Parse(Anywhere(prefix, dice)).GetAddressBytes();
        int length = int.Parse(prefix[(prefix.IndexOf('/', StringComparison.Ordinal) + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        return Masked(address, Math.Min(address.Length * 8, length + dice.Between(1, 8)));
    }

    private static string Inside(string prefix, Dice dice, int kind)
    {
        int slash = prefix.IndexOf('/', StringComparison.Ordinal);
        byte[] address = IPAddress.Parse(slash < 0 ? prefix : prefix[..slash]).GetAddressBytes();
        int length = slash < 0 ? address.Length * 8 : int.Parse(prefix[(slash + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        for (int bit = length; bit < address.Length * 8; bit++)
        {
            bool set = kind switch { 0 => false, 1 => true, _ => dice.OneIn(2) };
            address[bit / 8] = (byte)((address[bit / 8] & ~(0x80 >> (bit % 8))) | (set ? 0x80 >> (bit % 8) : 0));
        }

        if (kind == 2 && length > 0)
        {
            // A neighbour prefix: the last bit of the prefix turned.
            address[(length - 1) / 8] ^= (byte)(0x80 >> ((length - 1) % 8));
        }

        return new IPAddress(address).ToString();
    }

    protected static string Masked(byte[] address, int length)
    {
        for (int bit = length; bit < address.Length * 8; bit++)
        {
            address[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        }

        return $"{new IPAddress(address)}/{length}";
    }

    private sealed class Ipv4Family : Family
    {
        public override string Ip => "ip -4";

        public override string Suffix => "4";

        public override int Bits => 32;

        public override string Sysctl => "net.ipv4";

        public override IReadOnlyList<string> OddAddresses { get; } =
        [
            "0.0.0.0", "0.0.0.1", "0.255.255.255", "127.0.0.1", "127.1.2.3", "127.255.255.255", "224.0.0.1", "224.0.0.5", "224.0.0.251", "232.1.1.1", "239.255.255.255", "240.0.0.1",
            "255.255.255.254", "255.255.255.255", "169.254.1.1", "192.0.2.1", "198.18.0.1", "100.64.0.1", "10.0.0.0", "10.0.0.255", "10.0.1.0", "10.0.1.255", "10.0.2.255", "10.255.255.255",
        ];

        public override string OwnAddress(int port) => $"10.0.{port}.1";

        public override string Host(int port, int host) => $"10.0.{port}.{host}";

        public override string LinkPrefix(int port) => $"10.0.{port}.0/24";

        public override string BehindPrefix(int port) => $"10.{200 + port}.0.0/16";

        public override string RandomPrefix(Dice dice)
        {
            if (dice.OneIn(40))
            {
                return dice.Pick("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "240.0.0.0/4");
            }

            byte[] address = [10, (byte)(64 + dice.Below(2)), (byte)dice.Pick(0, 0, 1, 128), (byte)(dice.Below(4) * 64 + dice.Pick(0, 0, 1, 32, 63))];
            int length = dice.Pick(32, 32, 30, 28, 26, 25, 24, 24, 24, 23, 22, 20, 17, 16, 16, 15, 14, 12, 9);
            return Masked(address, length);
        }
    }

    private sealed class Ipv6Family : Family
    {
        public override string Ip => "ip -6";

        public override string Suffix => "6";

        public override int Bits => 128;

        public override string Sysctl => "net.ipv6";

        public override IReadOnlyList<string> OddAddresses { get; } =
        [
            "::", "::1", "::ffff:10.64.0.1", "::10.64.0.1", "fe80::1", "fe80::ffff:5", "fec0::1", "fc00::1", "ff00::1", "ff01::1", "ff02::1", "ff02::2", "ff02::5", "ff02::1:ff00:1", "ff05::2", "ff0e::1234",
            "2001:db8::", "2001:db8:0:0:ffff::1", "2001:db8:1::", "2002:a40:1::1", "100::1", "3ffe::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::a40:1",
        ];

        public override string OwnAddress(int port) => $"2001:db8:{port:x}::1";

        public override string Host(int port, int host) => $"2001:db8:{port:x}::{host:x}";

        public override string LinkPrefix(int port) => $"2001:db8:{port:x}::/64";

        public override string BehindPrefix(int port) => $"2001:db8:20{port:x}::/48";

        public override string RandomPrefix(Dice dice)
        {
            if (dice.OneIn(40))
            {
                return dice.Pick("::/0", "::/1", "2001:db8::/32", "2000::/3", "fc00::/7");
            }

            byte[] address = new byte[16];
            ((ReadOnlySpan<byte>)[0x20, 0x01, 0x0d, 0xb8, 0x64, (byte)dice.Below(2), (byte)dice.Pick(0, 0, 1, 128), (byte)dice.Pick(0, 0, 1, 255)]).CopyTo(address);
            address[8] = (byte)dice.Pick(0, 0, 0x80);
            address[15] = (byte)dice.Pick(0, 1, 1, 32, 64);
            int length = dice.Pick(128, 128, 127, 126, 120, 112, 96, 80, 72, 65, 64, 64, 64, 63, 60, 56, 50, 48, 48, 47, 44, 40, 36, 33);
            return Masked(address, length);
        }
    }
}
