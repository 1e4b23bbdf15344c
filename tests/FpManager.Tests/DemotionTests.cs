using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed unsafe class DemotionTests
{
    private static void Raise(Tables t, string @object, Wire.DemotionEffect effect, uint ifindex = 0) =>
        t.State.Apply(new Wire.DemotionBatch
        {
            Updates = { new Wire.DemotionBatch.Types.Update { Upsert = new Wire.Demotion { Object = @object, Reason = "because", Effect = effect, Ifindex = ifindex } } },
        });

    private static void End(Tables t, string @object) =>
        t.State.Apply(new Wire.DemotionBatch { Updates = { new Wire.DemotionBatch.Types.Update { Delete = new Wire.DemotionKey { Object = @object } } } });

    [Fact]
    public void VrfDemotionPassesAllUntilTheLastOneEnds()
    {
        using Tables t = new Tables().Standard();
        uint before = t.Vrf->Change;
        Raise(t, "nft chain ip filter FORWARD", Wire.DemotionEffect.Vrf);
        Raise(t, "ip rule 100", Wire.DemotionEffect.Vrf);
        Assert.Equal(Families.Both, t.Vrf->PassAll);
        Assert.NotEqual(before, t.Vrf->Change);
        End(t, "ip rule 100");
        Assert.Equal(Families.Both, t.Vrf->PassAll);
        End(t, "nft chain ip filter FORWARD");
        Assert.Equal(Families.None, t.Vrf->PassAll);
    }

    [Fact]
    public void IngressDemotionPassesItsPortOnly()
    {
        using Tables t = new Tables().Standard();
        Raise(t, "r1 rp_filter", Wire.DemotionEffect.Ingress, Tables.R1);
        Assert.Equal((Families.None, 0u, 3u), (t.Vrf->PassAll, t.Vrf->IngressPass[0], t.Vrf->IngressPass[1]));
    }

    [Fact]
    public void DemotionOfOneFamilyLeavesTheOther()
    {
        using Tables t = new Tables().Standard();
        t.State.Apply(new Wire.DemotionBatch
        {
            Updates =
            {
                new Wire.DemotionBatch.Types.Update { Upsert = new Wire.Demotion { Object = "nft ip6", Effect = Wire.DemotionEffect.Vrf, Families = 2 } },
                new Wire.DemotionBatch.Types.Update { Upsert = new Wire.Demotion { Object = "r1 rp_filter", Effect = Wire.DemotionEffect.Ingress, Ifindex = Tables.R1, Families = 1 } },
            },
        });
        Assert.Equal((Families.Ipv6, 0u, 1u), (t.Vrf->PassAll, t.Vrf->IngressPass[0], t.Vrf->IngressPass[1]));
    }

    [Fact]
    public void EgressDemotionPuntsWhatWouldLeaveThere()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Raise(t, "r1 egress", Wire.DemotionEffect.Egress, Tables.R1);
        Assert.Equal("punt demoted", t.Verdict("10.9.0.1"));
        End(t, "r1 egress");
        Assert.Equal("port 1 to 42", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void BypassedChangesNothing()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Raise(t, "r1 qdisc tbf", Wire.DemotionEffect.Bypassed, Tables.R1);
        Assert.Equal((Families.None, 0u, "port 1 to 42"), (t.Vrf->PassAll, t.Vrf->IngressPass[1], t.Verdict("10.9.0.1")));
    }

    [Fact]
    public void DemotionNotRenewedIsSweptButFpmdsOwnStays()
    {
        using Tables t = new Tables().Standard();
        Raise(t, "ip rule 100", Wire.DemotionEffect.Vrf);
        t.State.Demote("r0 mtu", "too big", DemotionEffect.Ingress, Tables.R0);
        t.Sync(9, () => { }, Wire.ObjectKind.Demotion);
        Assert.Equal((Families.None, 3u), (t.Vrf->PassAll, t.Vrf->IngressPass[0]));
    }

    [Fact]
    public void DemotionsSurviveARestartOfTheManager()
    {
        using Tables t = new Tables().Standard();
        Raise(t, "ip rule 100", Wire.DemotionEffect.Vrf);
        Tables again = new(t.Segments);
        Assert.Equal(Families.Both, again.Vrf->PassAll);
        End(again, "ip rule 100");
        Assert.Equal(Families.None, again.Vrf->PassAll);
    }

    [Fact]
    public void DemotionThatFindsNoRoomIsObeyedAllTheSame()
    {
        using Tables t = new Tables().Standard();
        for (int i = 0; i < SharedMemory.Capacities.Demotions; i++)
        {
            Raise(t, $"v{i} rp_filter", Wire.DemotionEffect.Bypassed);
        }

        Assert.Equal(Families.None, t.Vrf->PassAll);
        Raise(t, "nft chain ip filter FORWARD", Wire.DemotionEffect.Vrf);
        Assert.Equal(Families.Both, t.Vrf->PassAll);
        t.Sync(9, () => Raise(t, "v1 rp_filter", Wire.DemotionEffect.Bypassed), Wire.ObjectKind.Demotion);
        End(t, "fast path tables");
        Assert.Equal(Families.None, t.Vrf->PassAll);
    }

    [Fact]
    public void EgressDemotionThatIsSweptForwardsAgain()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Raise(t, "r1 egress", Wire.DemotionEffect.Egress, Tables.R1);
        Assert.Equal("punt demoted", t.Verdict("10.9.0.1"));
        t.Sync(9, () => { }, Wire.ObjectKind.Demotion);
        Assert.Equal("port 1 to 42", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void LocalAddressIsInTheFilterUntilItsEnd()
    {
        using Tables t = new Tables().Standard();
        Wire.Address a = new() { Ifindex = Tables.R0, Local = Tables.Bytes("10.1.0.1"), Address_ = Tables.Bytes("10.1.0.1"), PrefixLength = 24 };
        LocalAddressFilter filter = AddressSegment.Filter4(t.Segments.Address);
        Assert.False(filter.MayContain(Tables.Ip("10.1.0.1")));
        t.State.Apply(new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update { Upsert = a } } });
        Assert.True(filter.MayContain(Tables.Ip("10.1.0.1")));
        t.State.Apply(new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update { Delete = a } } });
        Assert.False(filter.MayContain(Tables.Ip("10.1.0.1")));
    }

    [Fact]
    public void PortFollowsItsInterfaceByName()
    {
        using Tables t = new Tables().Standard();
        Assert.Equal((Tables.R0, Tables.R1), (t.Vrf->PortIfIndex[0], t.Vrf->PortIfIndex[1]));
        t.State.Apply(new Wire.InterfaceBatch { Updates = { new Wire.InterfaceBatch.Types.Update { Delete = new Wire.InterfaceKey { Ifindex = Tables.R0 } } } });
        Assert.Equal(0u, t.Vrf->PortIfIndex[0]);
        t.Interface(77, "r0");
        Assert.Equal(77u, t.Vrf->PortIfIndex[0]);
    }
}
