using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Capture;
using FastPathSync.Packets.Filters;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.Fpctl.Tests.Capture;

public sealed unsafe class PcapCompilerTests
{
    [Fact]
    public void WhatMatchesIsAcceptedWhole()
    {
        FilterProgram program = PcapCompiler.Compile("udp dst port 9");
        Assert.Equal(262144u, Run(program, Ether().Ipv4().Udp(destination: 9).Build()));
        Assert.Equal(0u, Run(program, Ether().Ipv4().Udp(destination: 10).Build()));
        Assert.Equal(0u, Run(program, Ether().Ipv4().Tcp(destination: 9).Build()));
    }

    [Fact]
    public void NoExpressionMatchesEverything() => Assert.Equal(262144u, Run(PcapCompiler.Compile(""), []));

    [Theory]
    [InlineData("udp prt 9", "filter 'udp prt 9': can't parse filter expression: syntax error")]
    [InlineData("port 70000", "filter 'port 70000': illegal port number 70000 > 65535")]
    [InlineData("ip proto 17 and wlan type mgt", "filter 'ip proto 17 and wlan type mgt': 802.11 link-layer types supported only on 802.11")]
    [InlineData("ip6 protochain 6", "filter 'ip6 protochain 6': instruction 18: jump over 4294967281 instructions, of 17")]
    public void AWrongExpressionIsTheUsersMistakeInLibpcapsWords(string expression, string message)
    {
        CliError error = Assert.Throws<CliError>(() => PcapCompiler.Compile(expression));
        Assert.Equal(CliError.Usage, error.ExitStatus);
        Assert.Equal(message, error.Message);
    }

    private static uint Run(FilterProgram program, byte[] frame)
    {
        fixed (byte* p = frame)
        {
            PacketContext packet = new() { Data = p, Length = (uint)frame.Length, NetworkOffset = 14 };
            return FilterInterpreter.Run(program, &packet);
        }
    }
}
