namespace FastPathSync.Hosting;

/// <summary>A port as options name it: [VRF/]IF. No VRF: the home VRF, the namespace in which the instance was started.</summary>
public readonly record struct PortName(string Vrf, string Interface)
{
    /// <summary>Stands for a PortId that is free: no interface has an empty name.</summary>
    public static readonly PortName None = new("", "");

    public bool IsNone => Interface.Length == 0;

    public static PortName Parse(string text)
    {
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        return slash < 0 ? new PortName("", text) : new PortName(text[..slash], text[(slash + 1)..]);
    }

    public override string ToString() => Vrf.Length == 0 ? Interface : $"{Vrf}/{Interface}";
}
