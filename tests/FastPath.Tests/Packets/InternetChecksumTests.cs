using FastPathSync.Packets;

namespace FastPathSync.FastPath.Tests.Packets;

public sealed unsafe class InternetChecksumTests
{
    [Fact]
    public void SumIsThatOfTheWordsAtEveryLengthAndAlignment()
    {
        using GuardedFrames frames = new();
        Random random = new(3);
        foreach (int length in Enumerable.Range(0, 300).Append(1460).Append(4096))
        {
            byte[] bytes = new byte[length];
            random.NextBytes(bytes);
            if (length % 5 == 0)
            {
                Array.Fill(bytes, (byte)0xff); // the most carries
            }

            Assert.Equal(Naive(bytes), InternetChecksum.Fold(InternetChecksum.Sum(frames.Place(0, bytes, atEnd: true), (uint)length)));
        }
    }

    [Fact]
    public void SumOf64KilobytesOfOnesDoesNotOverflow()
    {
        byte[] bytes = new byte[65535];
        Array.Fill(bytes, (byte)0xff);
        fixed (byte* p = bytes)
        {
            Assert.Equal(Naive(bytes), InternetChecksum.Fold(InternetChecksum.Sum(p, 65535)));
        }
    }

    [Fact]
    public void ExampleOfRfc1071()
    {
        byte[] bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        fixed (byte* p = bytes)
        {
            Assert.Equal(0x220d, InternetChecksum.Finish(InternetChecksum.Sum(p, 8)).Value); // ~0xddf2
        }
    }

    /// <summary>Every TTL that may be taken from, with every checksum: the same four bytes as ip_decrease_ttl gives.</summary>
    [Fact]
    public void DecrementTtlIsTheKernelsForEveryTtlAndChecksum()
    {
        for (uint ttl = 1; ttl < 256; ttl++)
        {
            for (uint check = 0; check < 65536; check++)
            {
                uint kernel = check + 1; // htons(0x0100) on a little-endian machine
                kernel = (ushort)(kernel + (kernel >= 0xffff ? 1u : 0));
                uint expected = (kernel << 16) | (0x11 << 8) | (ttl - 1);
                if (InternetChecksum.DecrementTtl((check << 16) | (0x11 << 8) | ttl) != expected)
                {
                    Assert.Fail($"ttl {ttl}, checksum 0x{check:x4}");
                }
            }
        }
    }

    [Fact]
    public void DecrementTtlKeepsSoundHeadersSound()
    {
        byte[] header = [0x45, 0, 0, 40, 0, 0, 0, 0, 0, 17, 0, 0, 10, 0, 0, 1, 10, 1, 0, 1];
        fixed (byte* p = header)
        {
            for (int ttl = 1; ttl < 256; ttl++)
            {
                for (int id = 0; id < 65536; id += 3)
                {
                    (p[4], p[5], p[8], p[10], p[11]) = ((byte)(id >> 8), (byte)id, (byte)ttl, 0, 0);
                    *(ushort*)(p + 10) = InternetChecksum.Finish(InternetChecksum.Sum(p, 20)).Wire;
                    *(uint*)(p + 8) = InternetChecksum.DecrementTtl(*(uint*)(p + 8));
                    if (InternetChecksum.Fold(InternetChecksum.Sum(p, 20)) != 0xffff || p[8] != ttl - 1 || p[9] != 17)
                    {
                        Assert.Fail($"ttl {ttl}, identification {id}");
                    }
                }
            }
        }
    }

    private static ushort Naive(byte[] bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i += 2)
        {
            sum += bytes[i] | (i + 1 < bytes.Length ? (uint)bytes[i + 1] << 8 : 0);
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return (ushort)sum;
    }
}
