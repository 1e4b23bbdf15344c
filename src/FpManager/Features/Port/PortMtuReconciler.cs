using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager.Features.Port;

/// <summary>
/// Tells the fast path (NETFPC) when the MTU of a port's interface is not what it works with. Driven by state, not by
/// events, so that a fast path that was restarted is told again.
/// </summary>
public sealed unsafe class PortMtuReconciler(ForwardingState state, SegmentStore store, NetFpcClient client, ILogger log)
{
    private readonly HashSet<string> _refused = [];
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

        if (_fastPath is null || Libc.kill(FastPathStateSegment.State(_fastPath)->Pid, 0) != 0)
        {
            return;
        }

        foreach ((int port, uint ifindex, string name, uint mtu) in state.PortMtus())
        {
            PortState* p = FastPathStateSegment.Port(_fastPath, port);
            if (p->IfIndex != ifindex || (p->Mtu == mtu && !_refused.Contains(name)))
            {
                continue;
            }

            Tell(ifindex, name, mtu);
        }
    }

    private void Tell(uint ifindex, string name, uint mtu)
    {
        string demotion = $"{name} mtu";
        try
        {
            client.SetPortMtu(ifindex, mtu);
            if (_refused.Remove(name))
            {
                state.EndDemotion(demotion);
            }

            log.LogInformation("port {Port}: MTU {Mtu} set in the fast path", name, mtu);
        }
        catch (LinuxException e) when (e.ErrorNumber == Errno.EMSGSIZE)
        {
            if (_refused.Add(name))
            {
                state.Demote(demotion, e.Message, DemotionEffect.Ingress, ifindex);
                log.LogWarning("port {Port}: {Reason}", name, e.Message);
            }
        }
        catch (LinuxException e)
        {
            log.LogDebug("port {Port}: {Reason}; will be told again", name, e.Message);
        }
    }
}
