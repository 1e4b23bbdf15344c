namespace FastPathSync.Differential;

/// <summary>One thing that somebody has configured on the routers, with the commands that make it and take it away.</summary>
internal sealed class ConfigurationObject(string kind, string key, string[] add, string[] remove)
{
    public string Kind => kind;

    /// <summary>Two objects with one key can't be live at the same time.</summary>
    public string Key => key;

    public IReadOnlyList<string> Add => add;

    public IReadOnlyList<string> Remove => remove;

    /// <summary>In rounds.</summary>
    public int Lifetime { get; set; } = int.MaxValue;

    /// <summary>Other objects may have vanished with it (a device that goes down takes its routes): make them anew when it ends.</summary>
    public bool TakesOthersAlong { get; init; }

    /// <summary>A port has no carrier, though it is up.</summary>
    public bool CutsCable { get; init; }

    /// <summary>Destinations that packets should be sent to, "10.64.0.0/10".</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>Sources that packets should come from.</summary>
    public IReadOnlyList<string> Sources { get; init; } = [];

    /// <summary>Several ways: flows are spread over them.</summary>
    public bool Multipath { get; init; }

    /// <summary>What it lets packets be long, 0: it says nothing about that.</summary>
    public int Mtu { get; init; }

    public override string ToString() => string.Join("; ", add);
}

/// <summary>A kind of object: how one of it is made up at random.</summary>
internal abstract class ObjectKind
{
    public abstract string Name { get; }

    /// <summary>How often it is chosen, among all kinds.</summary>
    public abstract double Weight { get; }

    /// <summary>
    /// Rounds that an object stays, from 1. Kinds that hand the whole router to Linux stay for one round only, so that most
    /// packets meet the fast path.
    /// </summary>
    public virtual int LongestLife => 8;

    /// <summary>A new object, or null when none can be made now.</summary>
    public abstract ConfigurationObject? MakeUp(Configuration configuration, Dice dice);
}
