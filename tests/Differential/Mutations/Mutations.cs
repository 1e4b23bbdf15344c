namespace FastPathSync.Differential;

/// <summary>The ten ways. Each stands for a class of mistakes that somebody could make tomorrow; docs/differential.md lists them.</summary>
internal static class Mutations
{
    private const string Nodes = "src/FastPath/Nodes/";

    public static readonly IReadOnlyList<Mutation> All =
    [
        new("ttl-kept", "a forwarded packet keeps its TTL", "FastPath", Nodes + "Ipv4ForwardNode.cs",
            ("*ttlProtocolCheck = InternetChecksum.DecrementTtl(old);", "*ttlProtocolCheck = old;")),
        new("checksum-kept", "the TTL is counted down, the header checksum left as it was", "FastPath", Nodes + "Ipv4ForwardNode.cs",
            ("*ttlProtocolCheck = InternetChecksum.DecrementTtl(old);", "*ttlProtocolCheck = old - 1;")),
        new("mtu-off-by-one", "a packet one byte too long is forwarded", "FastPath", Nodes + "Ipv4ForwardNode.cs",
            ("tooLong = totalLength[i] > word.Mtu", "tooLong = totalLength[i] > word.Mtu + 1u")),
        new("options-ignored", "packets with IP options are forwarded like any others", "FastPath", Nodes + "Ipv4InputNode.cs",
            ("return ip->HeaderLength > Ipv4Header.Size ? PuntReason.IpOptions : Martian(", "return Martian(")),
        new("own-source-accepted", "packets from one of the router's own addresses are forwarded", "FastPath", Nodes + "Ipv4SourceCheck.cs",
            ("if (t.LocalAddresses.MayContain(source) &&", "if (source == 0 && t.LocalAddresses.MayContain(source) &&")),
        new("hop-limit-kept", "a forwarded IPv6 packet keeps its hop limit", "FastPath", Nodes + "Ipv6ForwardNode.cs",
            ("*hopLimit = (byte)(old - 1);", "*hopLimit = old;")),
        new("flow-moves", "which of several nexthops a packet takes depends on its length", "FastPath", Nodes + "Ipv4LookupNode.cs",
            ("hash.Ipv4(v.Data[i] + EthernetHeader.Size, v.TotalLength[i])", "hash.Ipv4(v.Data[i] + EthernetHeader.Size, v.TotalLength[i]) * (v.Length[i] | 1u)")),
        new("weights-ignored", "all nexthops of a route get the same share", "FpManager", "src/FpManager/Features/Nexthop/GroupLayout.cs",
            ("total += isAlive(member) ? Math.Max(1, weight) : 0;", "total += isAlive(member) ? 1u : 0;"), ("sum += alive ? Math.Max(1, weight) : 0;", "sum += alive ? 1u : 0;")),
        new("longest-prefix-lost", "when a route goes, the shortest prefix above it takes over instead of the longest", "FpManager", "src/FpManager/Features/Route/PrefixTable.cs",
            ("for (int l = length - 1; l > 0; l--)", "for (int l = 1; l < length; l++)")),
        new("neighbour-kept", "a neighbour that was deleted is used on", "FpManager", "src/FpManager/Features/Neighbour/NeighbourStore.cs",
            ("        int adjacency = _records[slot].Adjacency;\n        if (adjacency >= 0)\n", "        int adjacency = -1;\n        if (adjacency >= 0)\n")),
    ];
}
