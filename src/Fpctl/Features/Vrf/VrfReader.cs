using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
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
            PassAll = v->PassAll != Families.None,
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
    /// answers.
    /// </summary>
    public static string NamespaceName(int pid, string directory = "/run/netns")
    {
        if (Inode($"/proc/{pid}/ns/net") is not ulong own || !Directory.Exists(directory))
        {
            return "default";
        }

        string? file = Directory.EnumerateFiles(directory).Order(StringComparer.Ordinal).FirstOrDefault(f => Inode(f) == own);
        return Path.GetFileName(file) ?? "default";
    }

    /// <summary>Of the namespace behind a file; null when there is no such file any more.</summary>
    private static ulong? Inode(string path)
    {
        const int StatSize = 144, InodeAt = 8; // struct stat of asm/stat.h
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            return null;
        }

        using FileDescriptor file = new(fd);
        byte* stat = stackalloc byte[StatSize];
        return Libc.fstat(file.Number, stat) == 0 ? *(ulong*)(stat + InodeAt) : null;
    }
}
