using System.Diagnostics.CodeAnalysis;

namespace FastPathSync.Hosting;

/// <summary>What every daemon has; a singleton service of its host.</summary>
[SuppressMessage("Design", "CA1001", Justification = "lives as long as the process")]
public sealed class DaemonContext
{
    internal DaemonContext(string name, Instance instance, Notifier notifier)
    {
        Name = name;
        Instance = instance;
        Notifier = notifier;
    }

    /// <summary>"fpmd".</summary>
    public string Name { get; }

    public Instance Instance { get; }

    /// <summary>Keeps the supervisor alive and tells of its return. Register what it must be given back with OnReconnected.</summary>
    public SupervisorLink Supervisor { get; internal set; } = null!;

    private Notifier Notifier { get; }

    /// <summary>The daemon does its work from now on. Nobody else says it: call it exactly when it is true.</summary>
    public void Ready(string status) => Notifier.Ready(status);

    /// <summary>One line for `fpctl status`.</summary>
    public void Status(string status) => Notifier.Status(status);
}
