using System.Globalization;
using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Labs;

/// <summary>One network namespace of a lab.</summary>
public sealed class LabNamespace(Lab lab, string name)
{
    public string Name => name;

    public Lab Lab => lab;

    public string Path => $"/run/netns/{name}";

    /// <summary>Runs a command inside; throws with both outputs when it fails.</summary>
    public CommandResult Run(string command, string? input = null, TimeSpan? timeout = null) => Try(command, input, timeout).MustSucceed();

    /// <summary>Runs a command inside, whatever its exit code.</summary>
    public CommandResult Try(string command, string? input = null, TimeSpan? timeout = null) =>
        Try(Command.Split(command), input, timeout);

    public CommandResult Try(IEnumerable<string> words, string? input = null, TimeSpan? timeout = null) =>
        lab.Execute(Inside(words), input, timeout);

    public BackgroundProcess Start(string command)
    {
        List<string> words = Inside(Command.Split(command));
        lab.Note(Command.Join(words) + " &");
        BackgroundProcess process = new(Command.Start(words));
        lab.Track(process);
        return process;
    }

    /// <summary>Runs code on a thread inside the namespace; sockets it opens stay there.</summary>
    public T Inside<T>(Func<T> work) => NetworkNamespace.Run(Path, work);

    public void Sysctl(params ReadOnlySpan<(string Key, string Value)> settings)
    {
        List<string> words = ["sysctl", "-qw"];
        foreach ((string key, string value) in settings)
        {
            words.Add($"{key}={value}");
        }

        Try(words).MustSucceed();
    }

    public int IfIndex(string ifname) =>
        (int)Inside(() => Libc.if_nametoindex(ifname)) is int index and not 0 ? index : throw new InvalidOperationException($"{name} has no interface {ifname}");

    public byte[] MacOf(string ifname)
    {
        using JsonDocument links = JsonDocument.Parse(Run($"ip -j link show dev {ifname}").Output);
        string text = links.RootElement[0].GetProperty("address").GetString()!;
        return [.. text.Split(':').Select(b => byte.Parse(b, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
    }

    /// <summary>A counter of /proc/net/snmp, by the names that stand there: ("Ip", "ForwDatagrams").</summary>
    public ulong Snmp(string protocol, string counter)
    {
        // thread-self: /proc/net would be that of the main thread.
        string[][] lines = Inside(() => File.ReadAllLines("/proc/thread-self/net/snmp"))
            .Where(l => l.StartsWith(protocol + ":", StringComparison.Ordinal))
            .Select(l => l.Split(' '))
            .ToArray();
        return ulong.Parse(lines[1][Array.IndexOf(lines[0], counter)], CultureInfo.InvariantCulture);
    }

    /// <summary>Those that aren't zero; a namespace that is gone has none.</summary>
    public string IcmpCounters()
    {
        if (!File.Exists($"/run/netns/{name}"))
        {
            return "gone";
        }

        string[][] old = [.. Inside(() => File.ReadAllLines("/proc/thread-self/net/snmp")).Where(l => l.StartsWith("Icmp:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
        string[] pairs = Inside(() => File.Exists("/proc/thread-self/net/snmp6") ? File.ReadAllLines("/proc/thread-self/net/snmp6") : []);
        return string.Join(
            ", ",
            [
                .. old[0].Zip(old[1]).Where(c => c is not (_, "0" or "Icmp:")).Select(c => $"Icmp{c.First} {c.Second}"),
                .. pairs.Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).Where(w => w is [['I', 'c', 'm', 'p', ..], not "0"]).Select(w => $"{w[0]} {w[1]}"),
            ]);
    }

    /// <summary>Links, addresses, routes and neighbours, for a look at what went wrong; of each the first forty lines.</summary>
    public string Settings()
    {
        if (!File.Exists($"/run/netns/{name}"))
        {
            return "";
        }

        return string.Join('\n', ((string[])["-br link", "-br address", "route", "-6 route", "neigh show nud all"]).SelectMany(Shown));

        IEnumerable<string> Shown(string what) =>
            Command.Run(Inside(["ip", .. what.Split(' ')]), null, null).Output.Split('\n').Where(l => l.Length > 0 && !l.Contains(" NOARP", StringComparison.Ordinal)).Take(40).Select(l => $"    {l}");
    }

    public PacketSocket OpenPacketSocket(string ifname, ushort etherType = 0x0800) => PacketSocket.Open(this, ifname, etherType);

    private List<string> Inside(IEnumerable<string> words) => ["ip", "netns", "exec", name, .. words];
}
