namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>What makes two multipath routes share a group: the same members, in the same order, with the same weights.</summary>
internal sealed record GroupKey(int[] Members, uint[] Weights)
{
    public static GroupKey Of(IReadOnlyList<(int Member, uint Weight)> members) =>
        new([.. members.Select(m => m.Member)], [.. members.Select(m => m.Weight)]);

    public bool Equals(GroupKey? other) =>
        other is not null && Members.AsSpan().SequenceEqual(other.Members) && Weights.AsSpan().SequenceEqual(other.Weights);

    public override int GetHashCode()
    {
        HashCode h = default;
        foreach (int m in Members)
        {
            h.Add(m);
        }

        return h.ToHashCode();
    }
}
