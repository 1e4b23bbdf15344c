namespace FastPathSync.FpManager.Features.Route;

/// <summary>What an audit found wrong in the tables, in spite of all updates having been applied.</summary>
public sealed class AuditCount
{
    public int Mended { get; set; }
}
