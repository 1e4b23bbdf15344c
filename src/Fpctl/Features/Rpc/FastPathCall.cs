using FastPathSync.Fpctl.Cli;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;

namespace FastPathSync.Fpctl.Features.Rpc;

/// <summary>How commands call the fast path process.</summary>
internal static class FastPathCall
{
    /// <summary>What .NET makes of ENOENT when it connects a UNIX socket.</summary>
    private const int EADDRNOTAVAIL = 99;

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(2);

    public static NetFpcClient Connect(CliContext context) => new(context.Instance.NetFpcSocket, s_timeout);

    /// <summary>By [VRF/]IF, or by IF with --vrf.</summary>
    public static PortInfo FindPort(CliContext context, NetFpcClient client, string text)
    {
        PortName name = PortName.Parse(text);
        if (name.Vrf.Length == 0 && context.Vrf is string vrf)
        {
            name = name with { Vrf = vrf };
        }

        string wanted = (name.Vrf == NetworkNamespace.Unnamed ? name with { Vrf = "" } : name).ToString();
        PortInfo found = Do(context, client.ListPorts).FirstOrDefault(p => p.Name == wanted)
            ?? throw new CliError($"interface '{wanted}' is no port of the fast path; `fpctl port show` lists the ports", CliError.Usage);
        return found.Gone ? throw new CliError($"port '{wanted}': its interface is missing; it is served again when it comes back") : found;
    }

    /// <summary>Tells "not running" from "runs, but its fast path doesn't answer".</summary>
    public static T Do<T>(CliContext context, Func<T> call)
    {
        try
        {
            return call();
        }
        catch (NetFpcRefusedException e)
        {
            throw new CliError(e.Message);
        }
        catch (LinuxException e) when (e.ErrorNumber == Errno.ETIMEDOUT)
        {
            throw new CliError($"instance '{context.Instance}': the fast path process did not answer within {s_timeout.TotalSeconds:0} s; is it halted? see `fpctl status`");
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.ECONNRESET or Errno.EPIPE)
        {
            throw new CliError($"instance '{context.Instance}': the fast path process has just ended; it is started anew within a second, then try again");
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.ENOENT or Errno.ECONNREFUSED or EADDRNOTAVAIL)
        {
            throw File.Exists(context.Instance.SupervisorSocket)
                ? new CliError($"instance '{context.Instance}': the fast path process does not listen now; see `fpctl status`")
                : context.NotRunning();
        }
    }
}
