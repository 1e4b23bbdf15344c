namespace FastPathSync.Differential;

/// <summary>
/// What is not made up yet, because the product is known to do it wrong and the rest would be hidden behind it. Each entry
/// names what is missing; delete it with the bug.
/// </summary>
internal static class KnownGaps
{
    /// <summary>
    /// Prefixes of table local that main has too, with a TOS: forwarding is exact, but `fpctl verify` calls the reasons for which
    /// both leave them to Linux different (seed 4242: kernel punt tos-route, fast path punt local).
    /// </summary>
    public const bool LocalTablePrefixes = true;

    /// <summary>
    /// Unicast routes in table local, shorter than a whole address: in a namespace that ever had a rule of its own, Linux looks
    /// local up first, else the longest prefix wins, and nobody tells which (docs/features/route.md, "What is missing").
    /// </summary>
    public const bool LocalUnicastRoutes = true;
}
