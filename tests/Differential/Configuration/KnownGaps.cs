namespace FastPathSync.Differential;

/// <summary>
/// What is not made up yet, because the product is known to do it wrong and the rest would be hidden behind it. Each entry
/// names what is missing; delete it with the bug.
/// </summary>
internal static class KnownGaps
{
    /// <summary>
    /// A prefix of table local that lies above longer ones of main: in a namespace that ever had a rule of its own, Linux looks
    /// local up first (docs/features/route.md, "What is missing").
    /// </summary>
    public const bool LocalTablePrefixes = true;

    /// <summary>
    /// Sources that are broadcast addresses, or in local prefixes other than /32: in a namespace that ever had a rule of its
    /// own, Linux looks each source up (fib4_has_custom_rules in fib_validate_source).
    /// </summary>
    public const bool LocalSources = true;
}
