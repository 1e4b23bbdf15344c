using System.CommandLine;
using System.Diagnostics;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Rpc;

/// <summary>NETFPC calls into the fast path process.</summary>
internal static class RpcCommand
{
    /// <summary>What .NET makes of ENOENT when it connects a UNIX socket.</summary>
    private const int EADDRNOTAVAIL = 99;

    private const uint MinMtu = 68; // RFC 791: every internet module must forward 68 octets without fragmentation

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(2);
    private static readonly Argument<string> s_interface = new("IF") { Description = "a port" };
    private static readonly Argument<uint?> s_mtu = new("MTU")
    {
        Description = "the MTU the port shall work with; left out: the MTU is shown",
        Arity = ArgumentArity.ZeroOrOne,
    };

    public static Command Create()
    {
        Command ping = CliContext.Action(new Command("ping", "does the fast path process answer, and how fast"), (context, _) => Ping(context));
        Command mtu = CliContext.Action(new Command("mtu", "the MTU a port of the fast path works with"), Mtu);
        mtu.Arguments.Add(s_interface);
        mtu.Arguments.Add(s_mtu);
        return new Command("rpc", "calls into the fast path process (NETFPC)") { ping, mtu };
    }

    private static int Ping(CliContext context)
    {
        using NetFpcClient client = Connect(context);
        long start = Stopwatch.GetTimestamp();
        PingReply reply = Call(context, client.Ping);
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

    private static int Mtu(CliContext context, ParseResult parsed)
    {
        string name = parsed.GetValue(s_interface)!;
        uint? mtu = parsed.GetValue(s_mtu);
        if (mtu is < MinMtu or > 65535)
        {
            throw new CliError($"mtu {mtu}: an IPv4 MTU is {MinMtu} to 65535", CliError.Usage);
        }

        using InstanceTables tables = ShowCommand.Open(context);
        if (tables.InterfaceByName(name) is not InterfaceRecord i)
        {
            throw new CliError($"interface '{name}': there is none of that name; `fpctl port show` lists the ports", CliError.Usage);
        }

        if (i.PortId == InterfaceRecord.NoPort)
        {
            throw new CliError($"interface '{name}' is no port of the fast path; `fpctl port show` lists the ports", CliError.Usage);
        }

        using NetFpcClient client = Connect(context);
        PortMtuReply reply = Call(context, () => mtu is uint m ? client.SetPortMtu(i.IfIndex, m, i.PortId) : client.GetPortMtu(i.IfIndex, i.PortId));
        if (context.Json)
        {
            CliContext.WriteJson(w =>
            {
                w.WriteStartObject();
                w.WriteString("ifname", name);
                w.WriteNumber("mtu", reply.Mtu);
                w.WriteNumber("maxMtu", reply.MaxMtu);
                w.WriteEndObject();
            });
        }
        else
        {
            Console.Out.WriteLine($"{name}: mtu {reply.Mtu} (at most {reply.MaxMtu})");
        }

        return 0;
    }

    private static NetFpcClient Connect(CliContext context) => new(context.Instance.NetFpcSocket, s_timeout);

    /// <summary>Tells "not running" from "runs, but its fast path doesn't answer".</summary>
    private static T Call<T>(CliContext context, Func<T> call)
    {
        try
        {
            return call();
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.ENOENT or Errno.ECONNREFUSED or EADDRNOTAVAIL)
        {
            throw File.Exists(context.Instance.SupervisorSocket)
                ? new CliError($"instance '{context.Instance}': the fast path process does not listen now; see `fpctl status`")
                : context.NotRunning();
        }
    }
}
