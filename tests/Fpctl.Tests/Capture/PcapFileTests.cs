using System.Buffers.Binary;
using System.Text;
using FastPathSync.Fpctl.Features.Capture;
using FastPathSync.Fpctl.Inspection;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.Fpctl.Tests.Capture;

public sealed class PcapFileTests
{
    private static readonly byte[][] s_frames =
        [Ether().Ipv4().Udp().Build(), Ether().Ipv6().Tcp().Payload(101).Build(), new byte[14], Ether().Ipv4().Payload(1400).Build()];

    [Fact]
    public void WhatIsWrittenIsReadAgain() => Assert.Equal(s_frames, PcapFile.Parse(Written()));

    [Fact]
    public void CommentsAndNamesStandInTheFileAndTheBlocksAreWholeWords()
    {
        byte[] file = Written();
        string text = Encoding.UTF8.GetString(file);
        Assert.Contains("punt: ttl-expired at ipv4-forward", text, StringComparison.Ordinal);
        Assert.Contains("blue/r1", text, StringComparison.Ordinal);
        for (int at = 0; at < file.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + 4));
            Assert.Equal(0, length % 4);
            Assert.Equal(length, BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + length - 4)));
            at += length;
        }
    }

    [Theory]
    [InlineData(false, 0xa1b2c3d4)]
    [InlineData(true, 0xa1b2c3d4)]
    [InlineData(true, 0xa1b23c4d)]
    public void PcapOfEitherByteOrderIsRead(bool bigEndian, uint magic) => Assert.Equal(s_frames, PcapFile.Parse(Pcap(bigEndian, magic, linkType: 1)));

    [Fact]
    public void OtherLinkTypesAndOtherFilesAreRefused()
    {
        Assert.Null(PcapFile.Parse(Pcap(false, 0xa1b2c3d4, linkType: 113)));
        Assert.Null(PcapFile.Parse([]));
        Assert.Null(PcapFile.Parse("no capture at all"u8));
    }

    [Fact]
    public void DamagedFilesAreRefusedOrReadInPart()
    {
        Random random = new(5);
        byte[][] files = [Written(), Pcap(false, 0xa1b2c3d4, 1), Pcap(true, 0xa1b2c3d4, 1)];
        for (int n = 0; n < 20_000; n++)
        {
            byte[] f = [.. files[n % 3]];
            f = f[..random.Next(f.Length + 1)];
            for (int i = random.Next(4); i > 0 && f.Length > 0; i--)
            {
                f[random.Next(f.Length)] = (byte)random.Next(256);
            }

            _ = PcapFile.Parse(f);
        }
    }

    [Fact]
    public void AnyBytesCanBeDescribed()
    {
        Random random = new(6);
        for (int n = 0; n < 20_000; n++)
        {
            byte[] f = [.. s_frames[n % s_frames.Length]];
            f = f[..random.Next(f.Length + 1)];
            for (int i = random.Next(6); i > 0 && f.Length > 0; i--)
            {
                f[random.Next(Math.Min(f.Length, 80))] = (byte)random.Next(256);
            }

            Assert.NotEmpty(PacketText.Of(f, f.Length).ToString());
        }

        Assert.Equal("10.0.0.1.1024 > 10.1.0.1.9 udp, ttl 64, 42 bytes", PacketText.Of(s_frames[0], s_frames[0].Length).ToString());
    }

    private static byte[] Written()
    {
        MemoryStream file = new();
        PcapNgWriter writer = new(file);
        for (int i = 0; i < s_frames.Length; i++)
        {
            writer.Write(i % 2 == 0 ? "r0" : "blue/r1", (ulong)i, s_frames[i], (uint)s_frames[i].Length, i == 0 ? "punt: ttl-expired at ipv4-forward" : "forward by r1");
        }

        return file.ToArray();
    }

    private static byte[] Pcap(bool bigEndian, uint magic, uint linkType)
    {
        MemoryStream file = new();
        foreach (uint word in (uint[])[magic, 0x00020004, 0, 0, 65535, linkType])
        {
            Add(word);
        }

        foreach (byte[] frame in s_frames)
        {
            Add(0);
            Add(0);
            Add((uint)frame.Length);
            Add((uint)frame.Length);
            file.Write(frame);
        }

        return file.ToArray();

        void Add(uint word) => file.Write(BitConverter.GetBytes(bigEndian ? BinaryPrimitives.ReverseEndianness(word) : word));
    }
}
