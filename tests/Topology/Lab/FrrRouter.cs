using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>FRR in a namespace of a lab, as its own service would run it, with all that it keeps in a directory of its own.</summary>
public sealed class FrrRouter
{
    private const string Daemons = "/usr/lib/frr";
    private readonly string _home;

    /// <param name="router">Where it runs.</param>
    /// <param name="home">A directory to be made.</param>
    /// <param name="configuration">What would stand in /etc/frr/frr.conf.</param>
    public FrrRouter(LabNamespace router, string home, string configuration)
    {
        _home = home;
        Lab lab = router.Lab;
        lab.Host($"install -d -o frr -g frr {home}").MustSucceed();
        foreach (string daemon in (ReadOnlySpan<string>)["zebra", "staticd", "ospfd", "ospf6d", "bgpd"])
        {
            lab.Host($"install -o frr -g frr /dev/null {home}/{daemon}.conf").MustSucceed();
            router.Run($"{Daemons}/{daemon} -d -u frr -g frr -f {home}/{daemon}.conf -i {home}/{daemon}.pid -z {home}/zserv.api --vty_socket {home} -A 127.0.0.1 -P 0");
        }

        File.WriteAllText($"{home}/frr.conf", configuration);
        lab.Host($"vtysh --vty_socket {home} -f {home}/frr.conf").MustSucceed();
    }

    public static void Require()
    {
        Labs.Require.Tools("vtysh");
        Assert.SkipUnless(File.Exists($"{Daemons}/ospf6d"), "needs frr (./dev setup installs it)");
    }

    /// <summary>Neighbours whose adjacency is Full.</summary>
    public int OspfFull() => Count("show ip ospf neighbor json", "neighbors", n => n.ValueKind == JsonValueKind.Array ? n.EnumerateArray() : [n], "nbrState", "Full");

    /// <summary>How long ago the state of an adjacency last changed; of several, the youngest.</summary>
    public TimeSpan OspfQuietFor() => Show("show ip ospf neighbor detail json").GetProperty("neighbors").EnumerateObject()
        .SelectMany(n => n.Value.EnumerateArray()).Min(n => TimeSpan.FromMilliseconds(n.GetProperty("lastPrgrsvChangeMsec").GetInt64()));

    public int Ospf6Full() => Show("show ipv6 ospf6 neighbor json").GetProperty("neighbors").EnumerateArray()
        .Count(n => n.GetProperty("state").GetString()!.StartsWith("Full", StringComparison.Ordinal));

    /// <param name="family">ipv4 or ipv6.</param>
    public int BgpEstablished(string family) => Count($"show bgp {family} unicast summary json", "peers", p => [p], "state", "Established");

    /// <summary>Of each BGP session: how often it came up and was lost. The same text later: nothing happened to any.</summary>
    public string BgpSessions() => string.Join("; ", Show("show bgp neighbors json").EnumerateObject().Select(
        p => $"{p.Name} up {p.Value.GetProperty("connectionsEstablished")}, lost {p.Value.GetProperty("connectionsDropped")}"));

    private int Count(string command, string list, Func<JsonElement, IEnumerable<JsonElement>> each, string key, string begin) =>
        Show(command) is { ValueKind: JsonValueKind.Object } answer && answer.TryGetProperty(list, out JsonElement all)
            ? all.EnumerateObject().SelectMany(p => each(p.Value)).Count(e => e.GetProperty(key).GetString()!.StartsWith(begin, StringComparison.Ordinal))
            : 0;

    private JsonElement Show(string command)
    {
        CommandResult result = Command.Run(["vtysh", "--vty_socket", _home, "-c", command]); // asked often: not for the transcript
        using JsonDocument document = JsonDocument.Parse(result.MustSucceed().Output is { Length: > 0 } text ? text : "{}");
        return document.RootElement.Clone();
    }
}
