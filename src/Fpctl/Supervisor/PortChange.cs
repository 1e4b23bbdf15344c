using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// Makes all daemons work with the ports of another plan, or leaves all with the present one. The fast path's new ports come first (only it
/// can refuse them) and let nothing in yet; then the plan is written, and fpmd and cmgrd are started anew with it, so that the tables name what is
/// new and nothing that goes; then the fast path gives back what goes. Runs on a thread of its own; the supervisor's installs plans.
/// </summary>
/// <param name="install">Makes a plan that of the supervisor and of fpmd and cmgrd; null when they are ready with it, else why not.</param>
internal sealed class PortChange(Instance instance, InstancePlan present, Func<InstancePlan, string?> install)
{
    private static readonly TimeSpan s_callPatience = TimeSpan.FromSeconds(10);

    /// <summary>A fast path that was killed meanwhile is back within it; so are the tables of a VRF that had no ports.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    /// <summary>What .NET makes of ENOENT when it connects a UNIX socket.</summary>
    private const int EADDRNOTAVAIL = 99;

    /// <returns>Null when it is done; else why it isn't, and everything is as it was.</returns>
    public string? Run(InstancePlan target)
    {
        using NetFpcClient fastPath = new(instance.NetFpcSocket, s_callPatience);
        bool installed = false;
        try
        {
            Add(fastPath, target);
            installed = true;
            if (install(target) is string failure)
            {
                throw new NetFpcRefusedException(Errno.EIO, failure);
            }

            Settle(fastPath, target);
            return null;
        }
        catch (Exception e) when (e is NetFpcRefusedException or LinuxException or TimeoutException)
        {
            return $"{Line(e)}{Revert(fastPath, installed)}";
        }
    }

    /// <summary>An adopted system: its daemons may have been left in the midst of a change.</summary>
    public string? Reconcile() => Run(present);

    private string Line(Exception e) => e is LinuxException l && IsAbsent(l)
        ? $"instance '{instance}': the fast path process does not listen now, so ports can't be changed; see `fpctl status`"
        : e.Message;

    private string Revert(NetFpcClient fastPath, bool installed)
    {
        try
        {
            if (installed && install(present) is string failure)
            {
                return $" (and not everything is as before: {failure})";
            }

            Settle(fastPath, present);
            return "";
        }
        catch (Exception e) when (e is NetFpcRefusedException or LinuxException or TimeoutException)
        {
            return installed ? $" (and not everything is as before: {Line(e)})" : "";
        }
    }

    private static void Add(NetFpcClient fastPath, InstancePlan plan)
    {
        IReadOnlyList<PortInfo> served = fastPath.ListPorts();
        foreach ((int id, string name) in Missing(plan, served))
        {
            _ = fastPath.AddPort((uint)id, name);
        }
    }

    /// <summary>The fast path serves just the ports of the plan. One that was started anew meanwhile may need to be told again.</summary>
    private void Settle(NetFpcClient fastPath, InstancePlan plan)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_patience.TotalNanoseconds;
        while (!TrySettle(fastPath, plan, deadline))
        {
            Thread.Sleep(20);
        }
    }

    private bool TrySettle(NetFpcClient fastPath, InstancePlan plan, ulong deadline)
    {
        try
        {
            IReadOnlyList<PortInfo> served = fastPath.ListPorts();
            foreach (PortInfo p in served.Where(p => plan.NameOf((int)p.Port) != p.Name))
            {
                fastPath.DeletePort(p.Port);
            }

            // Ports of before whose interface is missing are nobody's fault; a new one has to be there.
            foreach ((int id, string name) in Missing(plan, served).Concat(plan.Named().Where(p => present.NameOf(p.Id) != p.Name)))
            {
                if (!fastPath.AddPort((uint)id, name))
                {
                    return MonotonicClock.Nanoseconds < deadline
                        ? false
                        : throw new TimeoutException($"port '{name}': the tables of its VRF were not there within {s_patience.TotalSeconds:0} s; see cmgrd's log, {instance.Log("cmgrd")}");
                }
            }

            return true;
        }
        catch (LinuxException e) when ((IsAbsent(e) || e.ErrorNumber == Errno.ECONNRESET) && MonotonicClock.Nanoseconds < deadline)
        {
            return false;
        }
    }

    private static IEnumerable<(int Id, string Name)> Missing(InstancePlan plan, IReadOnlyList<PortInfo> served) =>
        plan.Named().Where(p => !served.Any(s => s.Port == p.Id && s.Name == p.Name));

    private static bool IsAbsent(LinuxException e) => e.ErrorNumber is Errno.ENOENT or Errno.ECONNREFUSED or EADDRNOTAVAIL;
}
