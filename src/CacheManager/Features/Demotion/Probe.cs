using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>One thing that demotes at the moment of a look. Identity: Object.</summary>
internal readonly record struct Finding(string Object, string Reason, DemotionEffect Effect, uint IfIndex, Families Families = Families.Both);

/// <summary>The kernel has nothing of the kind that a probe looks for: nothing of it can be bypassed.</summary>
internal sealed class NotInKernelException(string message) : Exception(message);

/// <summary>
/// Looks at one kind of kernel state. A look names everything that demotes now; the monitor raises what is new and ends what
/// is no longer named, so a probe keeps no state of what it has raised. All calls come from the monitor's thread, which lives
/// in the namespace that is watched.
/// </summary>
internal abstract class Probe : IDisposable
{
    /// <summary>As it stands in the log, and in the demotion raised when it cannot look: "nftables".</summary>
    public abstract string Name { get; }

    /// <summary>Readable when the kernel announces a change; -1 for what the kernel doesn't announce.</summary>
    public virtual int Descriptor => -1;

    /// <summary>Between two looks when nothing is announced: for the announced ones merely a safety net.</summary>
    public abstract TimeSpan Period { get; }

    /// <summary>Reads what is announced, without waiting.</summary>
    public virtual void Drain()
    {
    }

    /// <summary>Opens sockets and files in the namespace. Called again after a failure.</summary>
    /// <exception cref="NotInKernelException">There is nothing to look at.</exception>
    public abstract void Open();

    /// <exception cref="LinuxException">The kernel refuses: the monitor demotes the VRF while that lasts.</exception>
    public abstract void Look(InterfaceSet interfaces, List<Finding> findings);

    public abstract void Dispose();
}
