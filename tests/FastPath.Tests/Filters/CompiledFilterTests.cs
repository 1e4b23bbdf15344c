using System.Globalization;
using FastPathSync.FastPath.Capture;
using FastPathSync.Packets.Filters;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;
using static FastPathSync.Packets.Filters.FilterCode;

namespace FastPathSync.FastPath.Tests.Filters;

/// <summary>Machine code against the interpreter, and both against libpcap. All packets lie between pages that may not be touched.</summary>
public sealed unsafe class CompiledFilterTests : IDisposable
{
    private readonly GuardedFrames _frames = new();
    private readonly Random _random = new(5);
    private int _runs, _matches;

    public void Dispose() => _frames.Dispose();

    [Fact]
    public void AnswersAsTheInterpreterDoes()
    {
        RandomFilters filters = new(6, FilterReach.All);
        for (int i = 0; i < 6000; i++)
        {
            CompareOnRandomPackets(filters.Next(1 + _random.Next(_random.Next(8) == 0 ? 400 : 50)), packets: 16);
        }

        Assert.InRange(_matches, _runs / 6, _runs * 3 / 4);
    }

    [Fact]
    public void AnswersAsTheInterpreterDoesInTheLongestPrograms()
    {
        RandomFilters filters = new(7, FilterReach.All);
        for (int i = 0; i < 60; i++)
        {
            CompareOnRandomPackets(filters.Next(BPF_MAXINSNS), packets: 16);
        }
    }

    /// <summary>Every operation of the kernel's between two numbers of which at least one is at an edge.</summary>
    [Fact]
    public void CountsAsTheInterpreterDoesAtTheEdges()
    {
        uint[] edges = [0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0x12345678];
        ushort[] operations = [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR];
        ushort[] jumps = [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET];
        FilterInstruction zero = new(BPF_RET | BPF_K, 0, 0, 0), one = new(BPF_RET | BPF_K, 0, 0, 1), all = new(BPF_RET | BPF_A, 0, 0, 0);
        foreach (uint a in edges)
        {
            foreach (uint b in edges)
            {
                FilterInstruction loadA = new(BPF_LD | BPF_IMM, 0, 0, a), loadX = new(BPF_LDX | BPF_IMM, 0, 0, b);
                foreach (ushort source in (ushort[])[BPF_K, BPF_X])
                {
                    foreach (ushort operation in operations.Where(o => IsValid(o, source, b)))
                    {
                        CompareOnRandomPackets([loadA, loadX, new((ushort)(BPF_ALU | operation | source), 0, 0, b), all], packets: 1);
                    }

                    foreach (ushort jump in jumps)
                    {
                        CompareOnRandomPackets([loadA, loadX, new((ushort)(BPF_JMP | jump | source), 1, 0, b), zero, one], packets: 1);
                        CompareOnRandomPackets([loadA, loadX, new((ushort)(BPF_JMP | jump | source), 0, 1, b), zero, one], packets: 1);
                        CompareOnRandomPackets([loadA, loadX, new((ushort)(BPF_JMP | jump | source), 1, 2, b), all, zero, one], packets: 1);
                    }
                }
            }
        }

        static bool IsValid(ushort operation, ushort source, uint k) => operation switch
        {
            BPF_NEG => source == BPF_K,
            BPF_DIV or BPF_MOD => source == BPF_X || k != 0,
            BPF_LSH or BPF_RSH => source == BPF_X || k < 32,
            _ => true,
        };
    }

    [Theory]
    [InlineData(126)]
    [InlineData(255)]
    [InlineData(4000)]
    public void JumpsAsFarAsItMust(int distance)
    {
        FilterInstruction jump = distance <= 255 ? new(BPF_JMP | BPF_JEQ, (byte)distance, 0, 0) : new(BPF_JMP | BPF_JA, 0, 0, (uint)distance);
        FilterInstruction[] over = [.. Enumerable.Repeat(new FilterInstruction(BPF_ALU | BPF_ADD, 0, 0, 1), distance)];
        using CompiledFilter filter = Create([jump, .. over, new(BPF_ALU | BPF_ADD, 0, 0, 5), new(BPF_RET | BPF_A, 0, 0, 0)]);
        Assert.True(filter.IsMachineCode);
        PacketContext packet = default;
        Assert.Equal(5u, filter.Match(&packet));
    }

    [Theory]
    [InlineData("")]
    [InlineData("arp")]
    [InlineData("ip")]
    [InlineData("udp port 9")]
    [InlineData("icmp6")]
    [InlineData("ip6 proto 17")]
    [InlineData("tcp[tcpflags] & tcp-syn != 0")]
    [InlineData("tcp[tcpflags] & (tcp-ack|tcp-fin) = tcp-ack")]
    [InlineData("host 10.0.0.1")]
    [InlineData("not net 10.3.0.0/24 and not ip6 net 2001:db8:3::/48")]
    [InlineData("ether host 02:00:00:00:00:01")]
    [InlineData("ether multicast or ip multicast or ip6 multicast")]
    [InlineData("greater 500")]
    [InlineData("less 80")]
    [InlineData("portrange 1000-1100 or icmp[icmptype] = icmp-echo")]
    [InlineData("ip[6:2] & 0x1fff != 0")]
    [InlineData("ip[2:2] - ((ip[0] & 0xf) << 2) > 60")]
    [InlineData("(ip[8] * 3 + 7) / 5 % 4 = 1 or ip[1] ^ 0x55 > ip[9] >> 1")]
    [InlineData("len / ip[8] > 3")]
    [InlineData("udp[4:2] = ip[2:2] - 20 and ip[-1 + 10] != 6")]
    [InlineData("tcp and dst net 10.1.0.0/16 and not port 22 and tcp[13] & 16 != 0 or (ip6 and udp portrange 5-6000 and src net 2001:db8::/32)")]
    public void AnswersAsLibpcapDoes(string expression)
    {
        FilterInstruction[] instructions = PcapJudge.Compile(expression);
        using CompiledFilter filter = Create(instructions);
        Assert.True(filter.IsMachineCode);
        RandomPackets packets = new(8, Families.Both);
        for (int i = 0; i < 3000; i++)
        {
            byte[] frame = packets.Next();
            if (i % 4 == 0)
            {
                _random.NextBytes(frame);
            }

            byte* data = _frames.Place(0, frame, atEnd: i % 2 == 0);
            PacketContext packet = Frame(data, frame.Length);
            uint libpcap = PcapJudge.Match(instructions, data, packet.Length);
            Assert.Equal(libpcap, filter.Match(&packet));
            Assert.Equal(libpcap, FilterInterpreter.Run(filter.Program, &packet));
            _matches += libpcap != 0 ? 1 : 0;
        }

        Assert.InRange(_matches, 1, expression.Length == 0 ? 3000 : 2999);
    }

    /// <summary>As `tcpdump -y EN10MB -ddd "udp port 53"` prints it (libpcap 1.10.3), without the count.</summary>
    [Fact]
    public void ProgramsOfTcpdumpFindTheirPackets()
    {
        const string Printed =
            """
            40 0 0 12
            21 0 6 34525
            48 0 0 20
            21 0 15 17
            40 0 0 54
            21 12 0 53
            40 0 0 56
            21 10 11 53
            21 0 10 2048
            48 0 0 23
            21 0 8 17
            40 0 0 20
            69 6 0 8191
            177 0 0 14
            72 0 0 14
            21 2 0 53
            72 0 0 16
            21 0 1 53
            6 0 0 262144
            6 0 0 0
            """;
        uint[][] numbers = [.. Printed.Split('\n').Select(l => l.Split(' ').Select(n => uint.Parse(n, CultureInfo.InvariantCulture)).ToArray())];
        using CompiledFilter filter = Create([.. numbers.Select(n => new FilterInstruction((ushort)n[0], (byte)n[1], (byte)n[2], n[3]))]);
        Assert.Equal(262144u, Match(filter, Ether().Ipv4().Udp(1024, 53).Build()));
        Assert.Equal(262144u, Match(filter, Ether().Ipv4(options: [1, 1, 1, 0]).Udp(53, 1024).Build()));
        Assert.Equal(262144u, Match(filter, Ether().Ipv6().Udp(53, 1024).Build()));
        Assert.Equal(0u, Match(filter, Ether().Ipv4().Udp(1024, 54).Build()));
        Assert.Equal(0u, Match(filter, Ether().Ipv4().Tcp(1024, 53).Build()));
        Assert.Equal(0u, Match(filter, Ether().Ipv4(flagsAndOffset: 1).Udp(1024, 53).Build()));
        Assert.Equal(0u, Match(filter, Ether().Ipv4().Udp(1024, 53).Build()[..37]));
    }

    [Fact]
    public void ItsPagesAreExecutableAndNotWritable()
    {
        using CompiledFilter filter = Create([new(BPF_RET | BPF_K, 0, 0, 1)]);
        Assert.True(filter.IsMachineCode);
        string line = File.ReadLines("/proc/self/maps").Single(l => Range(l) is var (from, to) && from <= filter.Address && filter.Address < to);
        Assert.Contains(" r-xp ", line, StringComparison.Ordinal);

        static (nuint From, nuint To) Range(string line)
        {
            string[] ends = line[..line.IndexOf(' ', StringComparison.Ordinal)].Split('-');
            return (nuint.Parse(ends[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture), nuint.Parse(ends[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }
    }

    [Fact]
    public void WithoutMachineCodeItInterprets()
    {
        CompiledFilter filter = Create([new(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0), new(BPF_RET | BPF_A, 0, 0, 0)]);
        filter.Dispose();
        Assert.False(filter.IsMachineCode);
        PacketContext packet = new() { Length = 77 };
        Assert.Equal(77u, filter.Match(&packet));
    }

    private static CompiledFilter Create(FilterInstruction[] instructions)
    {
        Assert.True(FilterProgram.TryCreate(instructions, out FilterProgram? program, out string? error), error);
        return new CompiledFilter(program);
    }

    private static PacketContext Frame(byte* data, int length) => new() { Data = data, Length = (uint)length, NetworkOffset = 14 };

    private void CompareOnRandomPackets(FilterInstruction[] instructions, int packets)
    {
        using CompiledFilter filter = Create(instructions);
        Assert.True(filter.IsMachineCode);
        for (int i = 0; i < packets; i++)
        {
            int length = _random.Next(4) switch { 0 => _random.Next(4), 1 => _random.Next(40), _ => _random.Next(140) };
            byte[] bytes = new byte[length];
            _random.NextBytes(bytes);
            PacketContext packet = Frame(_frames.Place(0, bytes, atEnd: _random.Next(2) == 0), length);
            packet.Protocol = (uint)_random.Next(65536);
            packet.PacketType = (uint)_random.Next(5);
            packet.IfIndex = (uint)_random.Next(100);
            packet.HardwareType = (uint)_random.Next(1000);
            packet.Mark = (uint)_random.Next();
            packet.QueueMapping = (uint)_random.Next(16);
            packet.Cpu = (uint)_random.Next(16);
            packet.RxHash = (uint)_random.Next();
            if (length >= 14 && _random.Next(2) == 0)
            {
                packet = packet with { Data = packet.Data + 14, Length = packet.Length - 14, LinkLayerOffset = -14, NetworkOffset = 0 };
            }

            uint interpreted = FilterInterpreter.Run(filter.Program, &packet), compiled = filter.Match(&packet);
            Assert.True(interpreted == compiled, $"{length} bytes: interpreted {interpreted}, compiled {compiled}: {string.Join(' ', instructions)}");
            _runs++;
            _matches += interpreted != 0 ? 1 : 0;
        }
    }

    private uint Match(CompiledFilter filter, byte[] frame)
    {
        PacketContext packet = Frame(_frames.Place(0, frame, atEnd: true), frame.Length);
        return filter.Match(&packet);
    }
}
