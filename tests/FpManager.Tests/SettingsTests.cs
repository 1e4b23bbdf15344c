using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed unsafe class SettingsTests
{
    [Fact]
    public void RedirectsMayBeDueUntilCmgrdSaysOtherwise()
    {
        using Tables t = new Tables().Standard();
        Assert.Equal((byte)Families.Both, t.Vrf->SendRedirects[0]);
        t.State.Apply(new Wire.Settings { WithoutRedirects = { Tables.R0 } });
        Assert.Equal((byte)Families.Ipv6, t.Vrf->SendRedirects[0]);
        Assert.Equal((byte)Families.Both, t.Vrf->SendRedirects[1]);
        t.State.Apply(new Wire.Settings());
        Assert.Equal((byte)Families.Both, t.Vrf->SendRedirects[0]);
    }

    [Fact]
    public void LooseFilterIsStrictWhereThereIsNoAddress()
    {
        using Tables t = new Tables().Standard();
        t.Interface(Tables.R0, "r0", rpFilter: 2).Interface(Tables.R1, "r1", rpFilter: 1);
        Assert.Equal((1, 1), (t.Vrf->RpFilter[0], t.Vrf->RpFilter[1]));
        Wire.Address a = new() { Ifindex = Tables.R0, Local = Tables.Bytes("10.1.0.1"), Address_ = Tables.Bytes("10.1.0.1"), PrefixLength = 24 };
        t.State.Apply(new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update { Upsert = a } } });
        Assert.Equal((2, 1), (t.Vrf->RpFilter[0], t.Vrf->RpFilter[1]));
        t.State.Apply(new Wire.AddressBatch { Updates = { new Wire.AddressBatch.Types.Update { Delete = a } } });
        Assert.Equal(1, t.Vrf->RpFilter[0]);
        t.Interface(Tables.R0, "r0");
        Assert.Equal(0, t.Vrf->RpFilter[0]);
    }

    [Fact]
    public void HashPoliciesAreToldToWorkers()
    {
        using Tables t = new();
        t.State.Apply(new Wire.Settings { MultipathHashPolicy4 = 3, MultipathHashFields4 = 0x30, MultipathHashPolicy6 = 1, MultipathHashFields6 = 7 });
        Assert.Equal((3u, 0x30u, 1u, 7u), (t.Vrf->MultipathPolicy4, t.Vrf->MultipathFields4, t.Vrf->MultipathPolicy6, t.Vrf->MultipathFields6));
    }

    [Fact]
    public void SeedOutlivesARestartAndChangesOnlyWithItsSetting()
    {
        using Tables t = new();
        uint random = t.Vrf->FlowSeed;
        Assert.NotEqual(0u, random);
        Tables again = new(t.Segments);
        again.State.Apply(new Wire.Settings());
        Assert.Equal(random, again.Vrf->FlowSeed);
        again.State.Apply(new Wire.Settings { MultipathHashSeed = 77 });
        Assert.Equal(77u, again.Vrf->FlowSeed);
        again.State.Apply(new Wire.Settings { MultipathHashSeed = 77, MultipathHashPolicy4 = 1 });
        Assert.Equal(77u, again.Vrf->FlowSeed);
        again.State.Apply(new Wire.Settings());
        Assert.NotEqual(77u, again.Vrf->FlowSeed);
        Assert.NotEqual(0u, again.Vrf->FlowSeed);
    }
}
