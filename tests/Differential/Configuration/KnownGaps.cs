namespace FastPathSync.Differential;

/// <summary>
/// What is not made up yet, because the product is known to do it wrong and the rest would be hidden behind it. Each entry
/// names what is missing; delete it with the bug.
/// </summary>
internal static class KnownGaps
{
    /// <summary>
    /// Unicast routes in table local, shorter than a whole address: in a namespace that ever had a rule of its own, Linux looks
    /// local up first, else the longest prefix wins, and nobody tells which (docs/features/route.md, "What is missing").
    /// </summary>
    public const bool LocalUnicastRoutes = true;
}
