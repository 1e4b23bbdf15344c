using FastPathSync.Fpc;
using Google.Protobuf;
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
            Require(a.Ifindex != 0 && IsIpv4(a.Local) && a.PrefixLength <= 32, "address that is not IPv4");
        }

        return batch;
    }

    public static Wire.RouteBatch Valid(Wire.RouteBatch batch)
    {
        foreach (Wire.RouteBatch.Types.Update u in batch.Updates)
        {
            Wire.RouteKey? k = u.Upsert is null ? u.Delete : u.Upsert.Key;
            Require(k is not null, "route update without key");
            Require(k!.PrefixLength <= 32 && (k.PrefixLength == 0 ? k.Destination : k.Destination << (int)k.PrefixLength) == 0
                || k.PrefixLength == 32, "route with host bits, or a length over 32");
            if (u.Upsert is Wire.Route r)
            {
                Require(r.Type <= byte.MaxValue && r.Nexthops.Count <= MaxMembers, $"route of type {r.Type} with {r.Nexthops.Count} nexthops");
                foreach (Wire.RouteNexthop n in r.Nexthops)
                {
                    RequireGateway(n.Gateway);
                }
            }
        }

        return batch;
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

    public static Wire.DemotionBatch Valid(Wire.DemotionBatch batch)
    {
        foreach (Wire.DemotionBatch.Types.Update u in batch.Updates)
        {
            Require((u.Upsert?.Object ?? u.Delete?.Object ?? "").Length > 0, "demotion without object");
        }

        return batch;
    }

    public static Wire.Settings Valid(Wire.Settings settings)
    {
        Require(settings.MultipathHashPolicy4 <= MostPolicy && settings.MultipathHashPolicy6 <= MostPolicy,
            $"multipath hash policies {settings.MultipathHashPolicy4} and {settings.MultipathHashPolicy6}: there is none above {MostPolicy}");
        return settings;
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
