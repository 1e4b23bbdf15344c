namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>What one pass compared and found.</summary>
internal sealed class Findings
{
    public Dictionary<string, int> Checked { get; } = [];

    public Dictionary<(string Kind, string Object), Difference> Differences { get; } = [];

    /// <summary>Addresses whose FIB entry was wrong, to be looked at again.</summary>
    public HashSet<uint> SuspectAddresses { get; } = [];

    public void Count(string kind, int n = 1) => Checked[kind] = Checked.GetValueOrDefault(kind) + n;

    public void Add(string kind, string @object, string kernel, string fastpath) =>
        Differences[(kind, @object)] = new Difference(kind, @object, kernel, fastpath);

    /// <summary>
    /// Compares two sets of objects by key. Texts are made of what differs only.
    /// </summary>
    public void Compare<TKey, TKernel, TFast>(
        string kind, IReadOnlyDictionary<TKey, TKernel> kernel, IReadOnlyDictionary<TKey, TFast> fast, Func<TKey, string> name,
        Func<TKernel, string> kernelText, Func<TFast, string> fastText, Func<TKernel, TFast, bool> same)
        where TKey : notnull
    {
        Count(kind, kernel.Count);
        foreach ((TKey key, TKernel k) in kernel)
        {
            if (!fast.TryGetValue(key, out TFast? f))
            {
                Add(kind, name(key), kernelText(k), "absent");
            }
            else if (!same(k, f))
            {
                Add(kind, name(key), kernelText(k), fastText(f));
            }
        }

        foreach ((TKey key, TFast f) in fast)
        {
            if (!kernel.ContainsKey(key))
            {
                Add(kind, name(key), "absent", fastText(f));
            }
        }
    }
}
