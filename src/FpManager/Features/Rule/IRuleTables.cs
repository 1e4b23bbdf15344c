namespace FastPathSync.FpManager.Features.Rule;

/// <summary>What policy rules ask of the routes of their family.</summary>
public interface IRuleTables
{
    /// <summary>How many routes a table has.</summary>
    int CountOf(uint table);

    /// <summary>Changes whenever some table gets its first route or loses its last.</summary>
    uint Occupancy { get; }

    /// <summary>The root slot of the trie into which local and main are merged; -1: they are in DIR-24-8.</summary>
    int MergedRoot { get; }

    /// <summary>
    /// The root slot of the trie that holds a table all by itself, from now on until it is released as often as it was
    /// required; -1: there is no room for it.
    /// </summary>
    int Require(uint table);

    void Release(uint table);
}
