using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// What cmgrd's own picture of the interfaces tells: reverse path filtering in force, forwarding switched off, and interfaces
/// that belong to a bridge, bond, team or VRF.
/// </summary>
internal sealed class InterfaceProbe : Probe
{
    public override string Name => "interfaces";

    // A change of them brings a look of its own.
    public override TimeSpan Period => TimeSpan.FromSeconds(1);

    public override void Open()
    {
    }

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        foreach (InterfaceInfo i in interfaces.Forwarding)
        {
            if (i.RpFilter != 0)
            {
                string how = i.RpFilter == 1 ? "strict" : "loose";
                Add("rp_filter", $"net.ipv4.conf.{i.Name}.rp_filter is {i.RpFilter} ({how}; the larger of all and {i.Name}): Linux checks the source of what {i.Name} receives");
            }

            if (!i.Forwarding)
            {
                Add("forwarding", $"net.ipv4.conf.{i.Name}.forwarding is 0: Linux forwards nothing that {i.Name} receives");
            }

            if (i.Master != 0)
            {
                string master = interfaces.NameOf(i.Master);
                Add($"master {master}", $"{i.Name} belongs to {master}, which takes what {i.Name} receives");
            }

            void Add(string what, string reason) => findings.Add(new Finding($"{i.Name} {what}", reason, DemotionEffect.Ingress, i.Index));
        }
    }

    public override void Dispose()
    {
    }
}
