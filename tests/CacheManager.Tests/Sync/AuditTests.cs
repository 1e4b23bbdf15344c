using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Tests.Sync;

public sealed class AuditTests
{
    [Fact]
    public void WhatFpmdHasLostIsSaidAgainWithoutAnEvent()
    {
        using Router r = new(audit: TimeSpan.FromSeconds(1));
        r.Ip("route add 10.99.0.0/16 via 10.2.0.2", "route add 10.98.0.0/16 via 10.2.0.2");
        r.Agree();
        r.Manager.Lose(ObjectKind.Route, o => ((Fpc.Protocol.Route)o).Key.Destination == 0x0a630000);
        r.Until(() => r.Manager.Audited is not null, "an audit");
        r.Agree();
        Assert.Equal(0u, r.Manager.Audited!.Repaired); // cmgrd itself had lost nothing
        Assert.True(r.Manager.Audited.Checked > 2);
    }

    [Fact]
    public void WithoutAPeriodThereIsNone()
    {
        using Router r = new();
        r.Ip("route add 10.99.0.0/16 via 10.2.0.2");
        r.Agree();
        Thread.Sleep(2500);
        Assert.Equal(["start"], r.Manager.Synchronizations);
    }
}
