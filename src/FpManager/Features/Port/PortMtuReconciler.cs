using FastPathSync.FpManager.Features.Vrf;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager.Features.Port;

/// <summary>
/// Tells the fast path (NETFPC) the MTU of each port's interface whenever it is another than it was last told, or the
/// fast path is another process; and demotes the port while the fast path can't work with it.
/// </summary>
public sealed unsafe class PortMtuReconciler(VrfRegistry vrfs, SegmentStore store, NetFpcClient client, ILogger log)
{
    private readonly Dictionary<int, (int Pid, uint IfIndex, uint Mtu)> _told = [];
    private Segment? _fastPath;

    public void Poll()
    {
        try
        {
            _fastPath ??= store.TryGetSegment(SegmentNames.FastPathState, SegmentKind.FastPathState, writable: false);
        }
        catch (Exception e) when (e is LinuxException or SegmentException)
        {
            return; // no supervisor just now
        }

        int pid = _fastPath is null ? 0 : FastPathStateSegment.State(_fastPath)->Pid;
        if (pid == 0 || Libc.kill(pid, 0) != 0)
        {
            return;
        }

        foreach (VrfEntry vrf in vrfs.All.Where(v => v.Ports.Count > 0))
        {
            foreach ((int port, uint ifindex, string name, uint mtu) in vrf.State.PortMtus())
            {
                bool known = _told.TryGetValue(port, out (int Pid, uint IfIndex, uint Mtu) told);
                if ((!known || told != (pid, ifindex, mtu)) && TryTell(vrf.State, port, ifindex, name, mtu))
                {
                    _told[port] = (pid, ifindex, mtu);
                }
            }
        }
    }

    /// <summary>False when there was no answer: ask again.</summary>
    private bool TryTell(ForwardingState state, int port, uint ifindex, string name, uint mtu)
    {
        string demotion = $"{name} mtu";
        try
        {
            client.SetPortMtu(ifindex, mtu, (uint)port);
            state.EndDemotion(demotion);
            return true;
        }
        catch (NetFpcRefusedException e) when (e.ErrorNumber == Errno.EMSGSIZE)
        {
            state.Demote(demotion, e.Message, DemotionEffect.Ingress, ifindex);
            log.LogWarning("port {Port}: {Reason}", name, e.Message);
            return true;
        }
        catch (Exception e) when (e is LinuxException or NetFpcRefusedException)
        {
            log.LogDebug("port {Port}: {Reason}; will be told again", name, e.Message);
            return false;
        }
    }
}
