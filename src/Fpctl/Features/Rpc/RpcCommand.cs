using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;

namespace FastPathSync.Fpctl.Features.Rpc;

/// <summary>NETFPC calls into the fast path process: what it says itself, without shared memory.</summary>
internal static class RpcCommand
{
    private const uint MinMtu = 68; // RFC 791: every internet module must forward 68 octets without fragmentation

    private static readonly Argument<string> s_interface = new("[VRF/]IF") { Description = "a port" };
    private static readonly Argument<uint?> s_mtu = new("MTU")
    {
        Description = "the MTU the port shall work with; left out: the MTU is shown",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Argument<string?> s_switch = new("on|off")
    {
        Description = "the interface shall be promiscuous, or not; left out: whether it is",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Argument<string?> s_workers = new("WORKER,...")
    {
        Description = "by queue: the worker that shall serve it, from now on; left out: which one does",
        Arity = ArgumentArity.ZeroOrOne,
    };

    public static Command Create()
    {
        s_switch.AcceptOnlyFromAmong("on", "off");
        return new Command("rpc", "calls into the fast path process (NETFPC)")
        {
            CliContext.Action(new Command("ping", "does the fast path process answer, and how fast"), (context, _) => Ping(context)),
            CliContext.Action(new Command("ports", "all that it knows of its ports"), (context, _) => Ports(context)),
            CliContext.Action(new Command("mtu", "the MTU a port of the fast path works with") { s_interface, s_mtu }, Mtu),
            CliContext.Action(new Command("promisc", "whether a port's interface is promiscuous: what it then receives for others is Linux's") { s_interface, s_switch }, Promiscuous),
            CliContext.Action(new Command("mac", "the addresses whose packets a port takes") { s_interface }, Mac),
            CliContext.Action(new Command("queues", "the queues of a port, and which worker serves each") { s_interface, s_workers }, Queues),
        };
    }

    private static int Ping(CliContext context)
    {
        using NetFpcClient client = FastPathCall.Connect(context);
        long start = Stopwatch.GetTimestamp();
        PingReply reply = FastPathCall.Do(context, client.Ping);
        double microseconds = Math.Round(Stopwatch.GetElapsedTime(start).TotalMicroseconds);
        if (context.Json)
        {
            CliContext.WriteJson(w =>
            {
                w.WriteStartObject();
                w.WriteNumber("pid", reply.Pid);
                w.WriteNumber("protocolVersion", reply.ProtocolVersion);
                w.WriteNumber("microseconds", microseconds);
                w.WriteEndObject();
            });
        }
        else
        {
            Console.Out.WriteLine($"fastpath (pid {reply.Pid}, NETFPC {reply.ProtocolVersion}) answered in {microseconds} µs");
        }

        return 0;
    }

    private static int Ports(CliContext context)
    {
        using NetFpcClient client = FastPathCall.Connect(context);
        IReadOnlyList<PortInfo> ports = FastPathCall.Do(context, client.ListPorts);
        if (!context.Json)
        {
            foreach (PortInfo p in ports)
            {
                Console.Out.WriteLine(p.Gone ? $"{p.Name}: gone" : $"{MtuText(p)}; {(p.Promiscuous ? "promiscuous; " : "")}{MacText(p)[(p.Name.Length + 2)..]}; {QueuesText(p)[(p.Name.Length + 2)..]}");
            }

            return 0;
        }

        CliContext.WriteJson(w =>
        {
            w.WriteStartArray();
            foreach (PortInfo p in ports)
            {
                Write(w, p, (w, p) =>
                {
                    w.WriteBoolean("gone", p.Gone);
                    WriteMtu(w, p);
                    w.WriteBoolean("promisc", p.Promiscuous);
                    WriteMac(w, p);
                    WriteQueues(w, p);
                });
            }

            w.WriteEndArray();
        });
        return 0;
    }

    private static int Mtu(CliContext context, ParseResult parsed)
    {
        uint? mtu = parsed.GetValue(s_mtu);
        if (mtu is < MinMtu or > 65535)
        {
            throw new CliError($"mtu {mtu}: an IPv4 MTU is {MinMtu} to 65535", CliError.Usage);
        }

        using NetFpcClient client = FastPathCall.Connect(context);
        PortInfo p = FastPathCall.FindPort(context, client, parsed.GetValue(s_interface)!);
        if (mtu is uint m)
        {
            PortMtuReply reply = FastPathCall.Do(context, () => client.SetPortMtu(p.Ifindex, m, p.Port));
            (p.Mtu, p.MaxMtu) = (reply.Mtu, reply.MaxMtu);
        }

        Show(context, p, WriteMtu, MtuText);
        return 0;
    }

    private static int Promiscuous(CliContext context, ParseResult parsed)
    {
        using NetFpcClient client = FastPathCall.Connect(context);
        PortInfo p = FastPathCall.FindPort(context, client, parsed.GetValue(s_interface)!);
        if (parsed.GetValue(s_switch) is string word)
        {
            p = FastPathCall.Do(context, () => client.SetPortPromiscuous(p.Port, word == "on"));
        }

        Show(context, p, (w, p) => w.WriteBoolean("promisc", p.Promiscuous), p => $"{p.Name}: promiscuous {(p.Promiscuous ? "on" : "off")}");
        return 0;
    }

    private static int Mac(CliContext context, ParseResult parsed)
    {
        using NetFpcClient client = FastPathCall.Connect(context);
        Show(context, FastPathCall.FindPort(context, client, parsed.GetValue(s_interface)!), WriteMac, MacText);
        return 0;
    }

    private static int Queues(CliContext context, ParseResult parsed)
    {
        uint[]? workers = parsed.GetValue(s_workers) is string list ? ParseWorkers(list) : null;
        using NetFpcClient client = FastPathCall.Connect(context);
        PortInfo p = FastPathCall.FindPort(context, client, parsed.GetValue(s_interface)!);
        if (workers is not null)
        {
            p = FastPathCall.Do(context, () => client.SetPortWorkers(p.Port, workers));
        }

        Show(context, p, WriteQueues, QueuesText);
        return 0;
    }

    private static uint[] ParseWorkers(string list) =>
    [
        .. list.Split(',').Select(w => uint.TryParse(w, NumberStyles.None, CultureInfo.InvariantCulture, out uint worker)
            ? worker
            : throw new CliError($"workers '{list}': give the number of a worker for each queue, as in 0,1,1,0", CliError.Usage)),
    ];

    private static void Show(CliContext context, PortInfo port, Action<Utf8JsonWriter, PortInfo> json, Func<PortInfo, string> text)
    {
        if (context.Json)
        {
            CliContext.WriteJson(w => Write(w, port, json));
        }
        else
        {
            Console.Out.WriteLine(text(port));
        }
    }

    private static void Write(Utf8JsonWriter w, PortInfo p, Action<Utf8JsonWriter, PortInfo> json)
    {
        PortName name = PortName.Parse(p.Name);
        w.WriteStartObject();
        w.WriteString("ifname", name.Interface);
        w.WriteString("vrf", name.Vrf.Length == 0 ? NetworkNamespace.Unnamed : name.Vrf);
        w.WriteNumber("ifindex", p.Ifindex);
        w.WriteNumber("id", p.Port);
        json(w, p);
        w.WriteEndObject();
    }

    private static string MtuText(PortInfo p) => $"{p.Name}: mtu {p.Mtu} (at most {p.MaxMtu})";

    private static void WriteMtu(Utf8JsonWriter w, PortInfo p)
    {
        w.WriteNumber("mtu", p.Mtu);
        w.WriteNumber("maxMtu", p.MaxMtu);
    }

    private static string MacText(PortInfo p) =>
        $"{p.Name}: unicast {Mac(p.Address.Span)}; to Linux: multicast {string.Join(' ', p.Multicast.Select(m => Mac(m.Span)))}, and whatever else its interface takes";

    private static void WriteMac(Utf8JsonWriter w, PortInfo p)
    {
        w.WriteString("address", Mac(p.Address.Span));
        w.WriteStartArray("multicast");
        foreach (Google.Protobuf.ByteString group in p.Multicast)
        {
            w.WriteStringValue(Mac(group.Span));
        }

        w.WriteEndArray();
    }

    private static string Mac(ReadOnlySpan<byte> address) => string.Join(':', address.ToArray().Select(b => $"{b:x2}"));

    private static string QueuesText(PortInfo p) =>
        $"{p.Name}: {p.ReceiveQueues} receive and {p.TransmitQueues} transmit queues; {string.Join(", ", p.Workers.Select((w, q) => $"queue {q} by worker {w}"))}";

    private static void WriteQueues(Utf8JsonWriter w, PortInfo p)
    {
        w.WriteNumber("rx", p.ReceiveQueues);
        w.WriteNumber("tx", p.TransmitQueues);
        w.WriteStartArray("workers");
        foreach (uint worker in p.Workers)
        {
            w.WriteNumberValue(worker);
        }

        w.WriteEndArray();
    }
}
