using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Policer;

namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>What the words of the command line mean, and what is refused.</summary>
public sealed class PolicerOptionTests
{
    [Theory]
    [InlineData("1", 1u)]
    [InlineData("100/s", 100u)]
    [InlineData("20k", 20_000u)]
    [InlineData("20k/s", 20_000u)]
    [InlineData("1000k", 1_000_000u)]
    public void Rates(string text, uint rate) => Assert.Equal(rate, PolicerSettings.ParseRate(text));

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("-5")]
    [InlineData("k")]
    [InlineData("/s")]
    [InlineData("1.5")]
    [InlineData("10/m")]
    [InlineData("1001k")]
    [InlineData("4294967297")]
    public void WhatIsNoRate(string text)
    {
        CliError e = Assert.Throws<CliError>(() => PolicerSettings.ParseRate(text));
        Assert.Equal(CliError.Usage, e.ExitStatus);
        Assert.Contains($"--rate {text}:", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("all")]
    [InlineData("arp")]
    [InlineData("nd")]
    [InlineData("icmp,ttl=1")]
    [InlineData("tcp,dport=179")]
    [InlineData("udp")]
    [InlineData("proto=89")]
    [InlineData("dport=53,ttl=64")]
    public void AMatchIsTheSameWrittenAndRead(string text) => Assert.Equal(text, PolicerMatch.Parse(text).ToString());

    [Fact]
    public void ProtocolsByNumberGetTheirNames() => Assert.Equal("tcp", PolicerMatch.Parse("proto=6").ToString());

    [Theory]
    [InlineData("", "no such word")]
    [InlineData("all,udp", "no such word")]
    [InlineData("sctp", "no such word")]
    [InlineData("ttl", "no such word")]
    [InlineData("ttl=256", "not a number from 0 to 255")]
    [InlineData("dport=70000", "not a number from 0 to 65535")]
    [InlineData("dport=-1", "not a number")]
    [InlineData("udp,tcp", "exclude each other")]
    [InlineData("ttl=1,ttl=2", "exclude each other")]
    [InlineData("arp,ttl=1", "neither ports nor a TTL")]
    [InlineData("icmp,dport=1", "only TCP and UDP have ports")]
    [InlineData("dport=1,proto=89", "only TCP and UDP have ports")]
    public void WhatCanMatchNothingIsRefused(string text, string why)
    {
        CliError e = Assert.Throws<CliError>(() => PolicerMatch.Parse(text));
        Assert.Equal(CliError.Usage, e.ExitStatus);
        Assert.Contains(why, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1u, 1_000_000_000)]
    [InlineData(3u, 333_333_334)]
    [InlineData(700_000u, 1_429)]
    [InlineData(1_000_000u, 1_000)]
    public void TheTimeOfATokenIsRoundedSoThatNeverMoreThanTheRatePasses(uint rate, long token) =>
        Assert.Equal(token, new PolicerSettings(rate, 1, PolicerPer.Source, default).TokenNs);
}
