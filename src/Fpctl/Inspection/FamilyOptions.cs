using System.CommandLine;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>-4 and -6, as ip has them: one family's objects only.</summary>
internal static class FamilyOptions
{
    private static readonly Option<bool> s_ipv4 = new("-4") { Description = "IPv4 only" };
    private static readonly Option<bool> s_ipv6 = new("-6") { Description = "IPv6 only" };

    public static void AddTo(Command command)
    {
        command.Options.Add(s_ipv4);
        command.Options.Add(s_ipv6);
    }

    public static Families Of(ParseResult parsed)
    {
        bool ipv4 = parsed.GetValue(s_ipv4), ipv6 = parsed.GetValue(s_ipv6);
        return ipv4 == ipv6 ? Families.Both : ipv4 ? Families.Ipv4 : Families.Ipv6;
    }

    public static bool Has(this Families families, IpAddress address) => (families & (address.IsV4 ? Families.Ipv4 : Families.Ipv6)) != 0;
}
