using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Vrf;

/// <summary>Makes the VRF views of the tables.</summary>
internal sealed unsafe class VrfReader(InstanceTables tables)
{
    /// <summary>All VRFs of the instance, or only the one that the tables are of.</summary>
    public IEnumerable<VrfView> Show(bool onlyThis)
    {
        foreach ((int slot, VrfRecord r) in tables.Vrfs.Index())
        {
            string name = slot == VrfDirectorySegment.Home ? "" : r.Name.ToString();
            if (onlyThis && name != tables.VrfName)
            {
                continue;
            }

            if (tables.OfVrf(name) is InstanceTables t)
            {
                yield return View(r, t);
            }
        }
    }

    private static VrfView View(in VrfRecord r, InstanceTables t)
    {
        VrfState* v = t.Vrf;
        return new VrfView
        {
            Name = r.Name.ToString(),
            Home = t.VrfName.Length == 0,
            Netns = r.NetnsInode,
            Synced = Volatile.Read(ref v->Synchronized) != 0,
            Ports = r.Ports,
            PassAll = v->PassAll != Families.None,
            CheckSource = Volatile.Read(ref v->CheckSource) != 0,
            Demotions = t.Demotions.Count,
            Resyncs = v->Resyncs,
            TableFull = v->TableFull,
            Memory = t.VrfMemory,
            Tables = new TableSizes
            {
                Interfaces = new(t.InterfaceTable.Count, t.InterfaceTable.Capacity),
                Addresses = new(t.Addresses.Count, t.Addresses.Capacity),
                Routes = new(t.Routes.Count, t.Routes.Capacity),
                Routes6 = new(t.Routes6.Count, t.Routes6.Capacity),
                Nexthops = new(t.Nexthops.Count, t.Nexthops.Capacity),
                Neighbours = new(t.Neighbours.Count, t.Neighbours.Capacity),
            },
        };
    }
}
