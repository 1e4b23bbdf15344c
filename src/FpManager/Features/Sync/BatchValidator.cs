using FastPathSync.Fpc;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Sync;

/// <summary>
/// Says of a whole batch whether it may be applied, before any of it is: what passes here can't write outside a table or
/// end the process.
/// </summary>
public static class BatchValidator
{
    /// <summary>Of a route or nexthop group; Linux allows fewer in practice.</summary>
    private const int MaxMembers = 4096;

    /// <summary>NHA_RES_GROUP_BUCKETS is 16 bits wide.</summary>
    private const int MostBuckets = 65535;

    /// <summary>fib_multipath_hash_policy</summary>
    private const int MostPolicy = 3;

    private const int NameLength = 15; // IFNAMSIZ - 1
    private const int MaxVrfName = 127; // fewer than NAME_MAX: names in the segment store have the table behind them
    private const int RuleIdLength = 16;
    private const uint AF_INET = 2, AF_INET6 = 10;
    private const string HostBits = "route with host bits, or with a length that its family doesn't have", BadBody = "route of an impossible type, or with too many nexthops";

    /// <exception cref="FpcProtocolException">Something in it is no object that a kernel could have said.</exception>
    public static Wire.InterfaceBatch Valid(Wire.InterfaceBatch batch)
    {
        foreach (Wire.InterfaceBatch.Types.Update u in batch.Updates)
        {
            Require(u.ChangeCase != Wire.InterfaceBatch.Types.Update.ChangeOneofCase.None, "interface update without change");
            Wire.Interface? i = u.Upsert;
            Require(i is null || (i.Ifindex != 0 && i.Name.Length is > 0 and <= NameLength), "interface without ifindex or with a bad name");
        }

        return batch;
    }

    public static Wire.AddressBatch Valid(Wire.AddressBatch batch)
    {
        foreach (Wire.AddressBatch.Types.Update u in batch.Updates)
        {
            Require(u.ChangeCase != Wire.AddressBatch.Types.Update.ChangeOneofCase.None, "address update without change");
            Wire.Address a = u.Upsert ?? u.Delete;
            Require(a.Ifindex != 0 && a.Local.Length is 4 or 16 && a.PrefixLength <= a.Local.Length * 8, "address without interface, or of no known family");
        }

        return batch;
    }

    public static Wire.RouteBatch Valid(Wire.RouteBatch batch)
    {
        foreach (Wire.RouteBatch.Types.Update u in batch.Updates)
        {
            Wire.RouteKey? k = u.Upsert is null ? u.Delete : u.Upsert.Key;
            Require(k is not null, "route update without key");
            Require(IsPrefix(k!.Destination, k.PrefixLength), HostBits);
            if (u.Upsert is Wire.Route r)
            {
                RequireBody(r);
            }
        }

        RequireColumns(batch.Deletes);
        RequireColumns(batch.Upserts);
        return batch;
    }

    private static void RequireColumns(Wire.RouteColumns? c)
    {
        if (c is null)
        {
            return;
        }

        RequireRows(c.PrefixLengths.Length, c.Bodies.Count, c.Body, c.Destinations.Count);
        foreach (Wire.Route r in c.Bodies)
        {
            Require(r.Key is { Destination: 0, PrefixLength: 0 }, "route columns with a body that has no key, or a prefix of its own");
            RequireBody(r);
        }

        ReadOnlySpan<byte> lengths = c.PrefixLengths.Span;
        for (int i = 0; i < lengths.Length; i++)
        {
            Require(IsPrefix(c.Destinations[i], lengths[i]), HostBits);
        }
    }

    private static void RequireRows(int rows, int bodies, RepeatedField<uint> body, int destinations)
    {
        Require(destinations == rows && body.Count == rows, "columns of different lengths");
        foreach (uint b in body)
        {
            Require(b < bodies, "a row of a body that isn't there");
        }
    }

    private static void RequireBody(Wire.Route r)
    {
        Require(r.Type <= byte.MaxValue && r.Nexthops.Count <= MaxMembers, BadBody);
        foreach (Wire.RouteNexthop n in r.Nexthops)
        {
            RequireGateway(n.Gateway);
        }
    }

    private static bool IsPrefix(uint destination, uint length) => length == 32 || (length < 32 && destination << (int)length == 0);

    public static Wire.Route6Batch Valid(Wire.Route6Batch batch)
    {
        foreach (Wire.Route6Batch.Types.Update u in batch.Updates)
        {
            Wire.Route6Key? k = u.Upsert is null ? u.Delete : u.Upsert.Key;
            Require(k is not null, "IPv6 route update without key");
            Require(
                IsPrefix(k!.DestinationHigh, k.DestinationLow, k.PrefixLength) && IsPrefix(k.SourceHigh, k.SourceLow, k.SourceLength), HostBits);
            if (u.Upsert is Wire.Route6 r)
            {
                RequireBody(r);
            }
        }

        RequireColumns(batch.Deletes);
        RequireColumns(batch.Upserts);
        return batch;
    }

    private static void RequireColumns(Wire.Route6Columns? c)
    {
        if (c is null)
        {
            return;
        }

        RequireRows(c.PrefixLengths.Length, c.Bodies.Count, c.Body, c.DestinationsHigh.Count);
        Require(c.DestinationsLow.Count == 0 || c.DestinationsLow.Count == c.DestinationsHigh.Count, "columns of different lengths");
        foreach (Wire.Route6 r in c.Bodies)
        {
            Require(r.Key is { DestinationHigh: 0, DestinationLow: 0, PrefixLength: 0 }, "route columns with a body that has no key, or a prefix of its own");
            Require(IsPrefix(r.Key.SourceHigh, r.Key.SourceLow, r.Key.SourceLength), HostBits);
            RequireBody(r);
        }

        ReadOnlySpan<byte> lengths = c.PrefixLengths.Span;
        for (int i = 0; i < lengths.Length; i++)
        {
            Require(IsPrefix(c.DestinationsHigh[i], c.DestinationsLow.Count == 0 ? 0 : c.DestinationsLow[i], lengths[i]), HostBits);
        }
    }

    private static void RequireBody(Wire.Route6 r)
    {
        Require(r.Type <= byte.MaxValue && r.Nexthops.Count <= MaxMembers, BadBody);
        foreach (Wire.RouteNexthop n in r.Nexthops)
        {
            RequireGateway(n.Gateway);
        }
    }

    public static Wire.NexthopBatch Valid(Wire.NexthopBatch batch)
    {
        foreach (Wire.NexthopBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Id ?? u.Delete?.Id ?? 0) != 0, "nexthop without id");
            if (u.Upsert is Wire.Nexthop n)
            {
                RequireGateway(n.Gateway);
                Require(n.Members.Count <= MaxMembers && n.Members.All(m => m.Id != 0 && m.Id != n.Id), $"nexthop group {n.Id} with impossible members");
                Require(n.Buckets.Count <= MostBuckets && n.Buckets.All(b => b != 0 && b != n.Id), $"nexthop group {n.Id} with impossible buckets");
            }
        }

        return batch;
    }

    public static Wire.NeighbourBatch Valid(Wire.NeighbourBatch batch)
    {
        foreach (Wire.NeighbourBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Ifindex ?? u.Delete?.Ifindex ?? 0) != 0, "neighbour without ifindex");
        }

        return batch;
    }

    public static Wire.RuleBatch Valid(Wire.RuleBatch batch)
    {
        foreach (Wire.RuleBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Id ?? u.Delete?.Id ?? ByteString.Empty).Length == RuleIdLength, "rule without id");
            if (u.Upsert is Wire.Rule r)
            {
                Require(r.Family is AF_INET or AF_INET6, $"rule of family {r.Family}");
                int address = r.Family == AF_INET ? 4 : 16;
                RequirePrefix(r.Destination, r.DestinationLength, address);
                RequirePrefix(r.Source, r.SourceLength, address);
                Require(r.Iif.Length <= NameLength && r.Oif.Length <= NameLength, "rule with a bad interface name");
                Require(
                    r.Action <= byte.MaxValue && r.Tos <= byte.MaxValue && r.IpProtocol <= byte.MaxValue && r.Protocol <= byte.MaxValue
                    && r.Dscp < 64 && r.DscpMask < 64 && r.Unknown <= ushort.MaxValue,
                    $"rule at {r.Priority} with a number that has too many bits");
                RequirePorts(r.SourcePorts);
                RequirePorts(r.DestinationPorts);
            }
        }

        return batch;
    }

    public static Wire.DemotionBatch Valid(Wire.DemotionBatch batch)
    {
        foreach (Wire.DemotionBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Object ?? u.Delete?.Object ?? "").Length > 0, "demotion without object");
        }

        return batch;
    }

    private static void RequirePrefix(ByteString address, uint length, int size) =>
        Require((address.Length == size || (address.Length == 0 && length == 0)) && length <= 8 * size, $"rule with an address of {address.Length} bytes, length {length}");

    private static void RequirePorts(Wire.RulePorts? p) =>
        Require(p is null || (p.First <= ushort.MaxValue && p.Last <= ushort.MaxValue && p.Mask <= ushort.MaxValue), "rule with impossible ports");

    /// <summary>No bits behind the prefix of an IPv6 address.</summary>
    private static bool IsPrefix(ulong high, ulong low, uint length) =>
        length <= 128 && (length >= 64 || (low == 0 && (length == 0 ? high : high << (int)length) == 0))
        && (length is < 64 or 128 || (length == 64 ? low : low << (int)(length - 64)) == 0);

    public static Wire.VrfBatch Valid(Wire.VrfBatch batch)
    {
        foreach (Wire.VrfBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Id ?? u.Delete?.Id ?? 0) != 0, "VRF without id, or the home VRF announced");
            Require(
                u.Upsert is not Wire.Vrf v || (v.Name.Length is > 0 and <= MaxVrfName && !v.Name.Contains('/', StringComparison.Ordinal)),
                "VRF with a name that no namespace has");
        }

        return batch;
    }
    public static Wire.Settings Valid(Wire.Settings settings)
    {
        Require(settings.MultipathHashPolicy4 <= MostPolicy && settings.MultipathHashPolicy6 <= MostPolicy,
            $"multipath hash policies {settings.MultipathHashPolicy4} and {settings.MultipathHashPolicy6}: there is none above {MostPolicy}");
        return settings;
    }

    public static Wire.Captures Valid(Wire.Captures captures)
    {
        foreach (Wire.PacketSocket s in captures.Sockets)
        {
            Require(s.Filter.Length % 8 == 0, $"packet socket {s.Inode}: a filter of {s.Filter.Length} bytes, which is no whole number of instructions");
            Require(s.Protocol <= ushort.MaxValue, $"packet socket {s.Inode}: protocol {s.Protocol}");
        }

        return captures;
    }

    private static bool IsIpv4(ByteString address) => address.Length == 4;

    private static void RequireGateway(ByteString gateway) => Require(gateway.Length is 0 or 4 or 16, $"gateway of {gateway.Length} bytes");

    private static void Require(bool sound, string what)
    {
        if (!sound)
        {
            throw new FpcProtocolException(what);
        }
    }
}
