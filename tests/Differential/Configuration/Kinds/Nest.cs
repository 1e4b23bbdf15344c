using System.Globalization;

namespace FastPathSync.Differential;

/// <summary>
/// Three routes, each inside the one before and by another port, of which the innermost goes first: then the one in the midst is to
/// take over, and not the outermost.
/// </summary>
internal static class Nest
{
    private const int Depth = 3, LongestLife = 6;

    public static IEnumerable<ConfigurationObject> MakeUp(Family family, Dice dice)
    {
        string prefix = family.RandomPrefix(dice);
        while (Length(prefix) > family.Bits - (2 * Depth))
        {
            prefix = family.RandomPrefix(dice);
        }

        int first = dice.Below(RouterPair.Ports);
        for (int depth = 0; depth < Depth; depth++)
        {
            int port = (first + depth) % RouterPair.Ports;
            string route = $"{prefix} via {family.LiveHost(port, dice)} dev p{port}";
            yield return new ConfigurationObject("nest", $"route{family.Suffix} {prefix}", [$"{family.Ip} route replace {route}"], [$"{family.Ip} route del {route}"])
            {
                Targets = [prefix],
                Lifetime = depth == Depth - 1 ? 1 : LongestLife - depth,
            };
            prefix = Family.Below(prefix, dice);
        }
    }

    private static int Length(string prefix) => int.Parse(prefix[(prefix.IndexOf('/', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture);
}
