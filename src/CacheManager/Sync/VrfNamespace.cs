using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Sync;

/// <summary>The namespace behind a VRF. Sockets opened in it, and this, keep it alive: Dispose when its name has gone.</summary>
/// <param name="id">Its number in FPC headers; 0: the home VRF, the namespace that cmgrd runs in.</param>
/// <param name="name">"" for the home VRF.</param>
/// <param name="inode">Of the namespace.</param>
/// <param name="file">null for the home VRF.</param>
/// <param name="hasPorts">The fast path forwards in it.</param>
public sealed class VrfNamespace(uint id, string name, ulong inode, FileDescriptor? file, bool hasPorts) : IDisposable
{
    public uint Id { get; } = id;

    public string Name { get; } = name;

    public ulong Inode { get; } = inode;

    public bool HasPorts { get; } = hasPorts;

    /// <summary>Before what is logged about it.</summary>
    public string LogPrefix { get; } = id == 0 ? "" : $"vrf {name}: ";

    public static VrfNamespace Home() => new(0, "", NetworkNamespace.OwnInode, null, hasPorts: true);

    /// <summary>Runs work with the namespace as that of the thread: what it opens stays there, threads it starts begin there.</summary>
    public T Inside<T>(Func<T> work) => file is null ? work() : NetworkNamespace.Run(file, Name, work);

    public void Dispose() => file?.Dispose();
}
