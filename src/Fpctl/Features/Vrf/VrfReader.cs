using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Vrf;

/// <summary>Makes the VRF view of the tables.</summary>
internal sealed unsafe class VrfReader(InstanceTables tables)
{
    public VrfView Show(string name)
    {
        VrfState* v = tables.Vrf;
        return new VrfView
        {
            Name = name,
            Synced = Volatile.Read(ref v->Synchronized) != 0,
            PassAll = Volatile.Read(ref v->PassAll) != 0,
            CheckSource = Volatile.Read(ref v->CheckSource) != 0,
            Demotions = tables.Demotions.Count,
            Resyncs = v->Resyncs,
            TableFull = v->TableFull,
            Tables = new TableSizes
            {
                Interfaces = new(tables.InterfaceTable.Count, Capacities.Interfaces),
                Addresses = new(tables.Addresses.Count, Capacities.Addresses),
                Routes = new(tables.Routes.Count, Capacities.Routes),
                Nexthops = new(tables.Nexthops.Count, Capacities.Nexthops),
                Neighbours = new(tables.Neighbours.Count, Capacities.Neighbours),
            },
        };
    }

    /// <summary>
    /// The name under /run/netns of the namespace a process lives in, "default" when it has none: what `ip netns identify`
    /// answers. The descriptor's link reads "net:[inode]" for both.
    /// </summary>
    public static string NamespaceName(int pid, string directory = "/run/netns")
    {
        string? identity = new FileInfo($"/proc/{pid}/ns/net").LinkTarget;
        if (identity is null || !Directory.Exists(directory))
        {
            return "default";
        }

        foreach (string file in Directory.EnumerateFiles(directory).Order(StringComparer.Ordinal))
        {
            try
            {
                using Microsoft.Win32.SafeHandles.SafeFileHandle h = File.OpenHandle(file);
                if (new FileInfo($"/proc/self/fd/{h.DangerousGetHandle()}").LinkTarget == identity)
                {
                    return Path.GetFileName(file);
                }
            }
            catch (IOException)
            {
                // Removed meanwhile: not this one.
            }
            catch (UnauthorizedAccessException)
            {
                // A name without a namespace mounted on it.
            }
        }

        return "default";
    }
}
