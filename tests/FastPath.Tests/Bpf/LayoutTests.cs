using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests.Bpf;

/// <summary>What C and C# both say about the same bytes.</summary>
public sealed unsafe class LayoutTests
{
    [Fact]
    public void PassReasonsHaveTheSameNumbers()
    {
        PassReason[] all = Enum.GetValues<PassReason>();
        string[] names = [.. all.Select(r => $"PASS_{Upper(r.ToString())}")];
        Assert.Equal(all.Select(r => (long)r), CHeader.Evaluate("xdp_def.h", names));
    }

    [Fact]
    public unsafe void XdpStructuresAgree()
    {
        XdpConstants k;
        Assert.Equal(
        [
            sizeof(XdpConstants), (byte*)&k.Generic - (byte*)&k, (byte*)&k.Cookie - (byte*)&k,
            XdpLayout.ConfigLengthShift, XdpLayout.LongestFrame, (long)XdpLayout.PassIpv4, unchecked((long)XdpLayout.PassIpv6), XdpLayout.HeartbeatWorkers, XdpLayout.BeatOffset(0), XdpLayout.BeatOffset(15), 0, Capacities.Workers,
            LocalAddressFilter.Bytes * 8, XdpLayout.MaxQueues,
        ],
        CHeader.Evaluate(
            "xdp_def.h",
            "sizeof(struct xdp_constants)", "offsetof(struct xdp_constants, generic)", "offsetof(struct xdp_constants, cookie)",
            "PORT_CONFIG_LENGTH_SHIFT", "PORT_CONFIG_LENGTH(~0ull)", "PORT_CONFIG_PASS_IPV4", "PORT_CONFIG_PASS_IPV6", "HEARTBEAT_WORKERS", "offsetof(struct heartbeat_beats, worker[0].count)",
            "offsetof(struct heartbeat_beats, worker[15].count)", "offsetof(struct heartbeat_beats, workers)", "HEARTBEAT_WORKERS", "ADDRESS_FILTER_BITS", "MAX_QUEUES"));
    }

    [Fact]
    public void TheAddressHashIsTheSame()
    {
        uint[] addresses = [0, 1, 0x0a000001, 0xc0a80101, 0xffffffff, 0x7f000001];
        Assert.Equal(
            addresses.Select(a => (long)LocalAddressFilter.Hash(a)),
            CHeader.Evaluate("xdp_def.h", [.. addresses.Select(a => $"ADDRESS_FILTER_HASH({a}u)")]));
        (ulong High, ulong Low)[] addresses6 = [(0, 0), (0, 1), (1, 0), (0x20010db800000000, 1), (0x20010db800000000, 0xffff0000), (ulong.MaxValue, ulong.MaxValue)];
        Assert.Equal(
            addresses6.Select(a => (long)LocalAddressFilter.Hash(a.High, a.Low)),
            CHeader.Evaluate("xdp_def.h", [.. addresses6.Select(a => $"ADDRESS_FILTER_HASH6({a.High}ull, {a.Low}ull)")]));
    }

    [Fact]
    public void AFamilyIsPassedByABitOfItsOwn()
    {
        Assert.Equal(0x05ea_0605_0403_0201ul, XdpLayout.Config(0x0605_0403_0201, new Admission(1514)));
        Assert.Equal(0x45ea_0000_0000_0000ul, XdpLayout.Config(0, new Admission(1514, Families.Ipv4)));
        Assert.Equal(0x85ea_0000_0000_0000ul, XdpLayout.Config(0, new Admission(1514, Families.Ipv6)));
        Assert.Equal(0x3ffful << 48, XdpLayout.Config(0, new Admission(100_000)));
    }

    [Fact]
    public void TheFptunTrailerIsTheSame()
    {
        long[] c = CHeader.Evaluate(
            "fptun_def.h",
            "sizeof(struct fptun_trailer)", "offsetof(struct fptun_trailer, magic)", "offsetof(struct fptun_trailer, version)", "offsetof(struct fptun_trailer, command)",
            "offsetof(struct fptun_trailer, flags)", "offsetof(struct fptun_trailer, ifindex)", "offsetof(struct fptun_trailer, mark)",
            "FPTUN_MAGIC", "FPTUN_VERSION", "FPTUN_F_COOKIE");
        Assert.Equal([FptunTrailer.Size, 0, 4, 5, 6, 8, 12, FptunTrailer.Magic, FptunTrailer.Version, FptunTrailer.FlagCookie], c);
        FptunCommand[] commands = [.. Enum.GetValues<FptunCommand>().Where(v => v is not (FptunCommand.None or FptunCommand.Count))];
        Assert.Equal(commands.Select(v => (long)v), CHeader.Evaluate("fptun_def.h", [.. commands.Select(v => $"FPTUN_{Upper(v.ToString())}")]));
        FptunRefusal[] refusals = [.. Enum.GetValues<FptunRefusal>().Where(v => v != FptunRefusal.Count)];
        Assert.Equal(refusals.Select(v => (long)v), CHeader.Evaluate("fptun_def.h", [.. refusals.Select(v => $"FPTUN_{Upper(v.ToString())}")]));
        FptunConstants k = default;
        Assert.Equal(
            [FastPathState.FptunCounters, sizeof(FptunConstants), (byte*)&k.Secret - (byte*)&k, (byte*)&k.TapMark - (byte*)&k, (byte*)&k.OutputMagic - (byte*)&k],
            CHeader.Evaluate("fptun_def.h", "FPTUN_COUNTERS", "sizeof(struct fptun_constants)", "offsetof(struct fptun_constants, secret)", "offsetof(struct fptun_constants, tap_mark)",
                "offsetof(struct fptun_constants, output_magic)"));
        byte[] t = new byte[16];
        FptunTrailer.Write(t, FptunCommand.Basic, 0x0203, 0x04050607, 0x08090a0b);
        Assert.Equal("4650543101010203" + "04050607" + "08090a0b", Convert.ToHexStringLower(t));
    }

    /// <summary>"LocalAddress" to "LOCAL_ADDRESS".</summary>
    private static string Upper(string pascal) =>
        string.Concat(pascal.Select((c, i) => i > 0 && char.IsUpper(c) ? $"_{c}" : $"{char.ToUpperInvariant(c)}"));
}
