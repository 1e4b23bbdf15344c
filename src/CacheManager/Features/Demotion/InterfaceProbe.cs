using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// What cmgrd's own picture of the interfaces tells: forwarding switched off, interfaces
/// that belong to a bridge, bond, team or VRF, and those below a VLAN.
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
        ILookup<uint, string> vlansOn = interfaces.Forwarding.Where(v => v.Kind == "vlan").ToLookup(v => v.Link, v => v.Name);
        foreach (InterfaceInfo i in interfaces.Forwarding)
        {
            if (!i.Forwarding)
            {
                Add("forwarding", $"net.ipv4.conf.{i.Name}.forwarding is 0: Linux forwards nothing that {i.Name} receives", Families.Ipv4);
            }

            if (i.ProxyNdp)
            {
                Add("proxy_ndp", $"net.ipv6.conf.{i.Name}.proxy_ndp is in force: Linux answers neighbour discovery for others on {i.Name}", Families.Ipv6);
            }

            if (i.Master != 0)
            {
                string master = interfaces.NameOf(i.Master);
                Add($"master {master}", $"{i.Name} belongs to {master}, which takes what {i.Name} receives");
            }

            // Several VLANs on one interface are one demotion: its reason must not depend on their order.
            List<string> vlans = [.. vlansOn[i.Index].Order(StringComparer.Ordinal)];
            if (vlans.Count > 0)
            {
                string others = vlans.Count > 1 ? $" and {vlans.Count - 1} more" : "";
                Add("vlan", $"VLAN sub-interface {vlans[0]}{others} on {i.Name}: tags may be stripped before XDP sees the frame");
            }

            void Add(string what, string reason, Families families = Families.Both) =>
                findings.Add(new Finding($"{i.Name} {what}", reason, DemotionEffect.Ingress, i.Index, families));
        }
    }

    public override void Dispose()
    {
    }
}
