using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed unsafe class AuditTests
{
    private static readonly Wire.RouteNexthop s_via = Tables.Via("10.2.0.2");

    [Fact]
    public void WhatIsRightIsCheckedAndNotRepaired()
    {
        using Tables t = Filled();
        Audit(t, 7);
        Assert.Equal((1ul, 2ul, 0ul, 1ul), (t.Vrf->AuditRuns, t.Vrf->AuditChecked, t.Vrf->AuditRepaired, t.Vrf->Resyncs));
        Assert.NotEqual(0, t.Vrf->AuditLast);
    }

    [Fact]
    public void ADamagedFibEntryIsMendedAndCounted()
    {
        using Tables t = Filled();
        NexthopWord right = t.Lookup("10.9.0.1");
        uint* first = Fib4Segment.Table24(t.Segments.Fib4) + (Tables.Ip("10.9.0.0") >> 8);
        *first = 0;
        Assert.NotEqual(right.Value, t.Lookup("10.9.0.1").Value);
        Audit(t, 7);
        Assert.Equal(right.Value, t.Lookup("10.9.0.1").Value);
        Assert.Equal(1ul, t.Vrf->AuditRepaired);
    }

    [Fact]
    public void ARouteThatNobodyNamesIsSweptAndCounted()
    {
        using Tables t = Filled();
        t.Route("10.77.0.0/16", s_via);
        Audit(t, 7);
        Assert.Equal(2, t.State.Routes.CountOf(254));
        Assert.Equal(1ul, t.Vrf->AuditRepaired);
    }

    [Fact]
    public void ALostRouteComesBackAndIsCounted()
    {
        using Tables t = Filled();
        t.NoRoute(Tables.Key("10.9.0.0/16"));
        Audit(t, 7);
        Assert.Equal(t.Lookup("10.8.0.1").Value, t.Lookup("10.9.0.1").Value);
        Assert.Equal(1ul, t.Vrf->AuditRepaired);
    }

    private static Tables Filled()
    {
        Tables t = new Tables().Standard();
        t.Sync(5, () => Say(t), Wire.ObjectKind.Route); // sweeps the routes of Standard
        return t;
    }

    private static void Say(Tables t) => t.Route("10.8.0.0/16", s_via).Route("10.9.0.0/16", s_via);

    private static void Audit(Tables t, ulong generation)
    {
        t.State.BeginSync(new Wire.BeginSync { Generation = generation, Audit = true, Kinds = { Wire.ObjectKind.Route } });
        Say(t);
        Assert.True(t.State.TryEndSync(new Wire.EndSync { Generation = generation, Reason = "audit", Checked = 2 }, out _));
    }
}
