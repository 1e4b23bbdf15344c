using FastPathSync.Linux;

namespace FastPathSync.FastPath.Tests;

/// <summary>
/// Room for the packets of a vector, each on a page of its own between two pages that may not be touched: whoever reads
/// or writes one byte too far is killed by the kernel (SIGSEGV), and the test with him. Writes that stay within the page
/// are found by <see cref="SlackIsIntact"/>.
/// </summary>
public sealed unsafe class GuardedFrames : IDisposable
{
    public const int MaximumLength = PageSize;
    private const int PageSize = 4096, MAP_FIXED = 0x10;
    private const byte Slack = 0xa5;
    private readonly MemoryMapping _mapping;

    public GuardedFrames()
    {
        _mapping = MemoryMapping.Anonymous(((2 * PacketVector.Size) + 1) * PageSize, 0, "guarded frames");
        for (int i = 0; i <= PacketVector.Size; i++)
        {
            byte* guard = _mapping.Address + (2 * i * PageSize);
            if (Libc.mmap(guard, PageSize, 0, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | MAP_FIXED, -1, 0) != guard)
            {
                throw LinuxException.FromLastError("mmap", "guard page");
            }
        }
    }

    /// <summary>Copies the packet to where the page ends, or to where it begins.</summary>
    public byte* Place(int slot, ReadOnlySpan<byte> packet, bool atEnd)
    {
        Span<byte> page = new(Page(slot), PageSize);
        page.Fill(Slack);
        int offset = atEnd ? PageSize - packet.Length : 0;
        packet.CopyTo(page[offset..]);
        return Page(slot) + offset;
    }

    /// <summary>Nothing of the page was written but the packet's own bytes.</summary>
    public bool SlackIsIntact(int slot, byte* packet, int length)
    {
        int before = (int)(packet - Page(slot));
        return !new ReadOnlySpan<byte>(Page(slot), before).ContainsAnyExcept(Slack)
            && !new ReadOnlySpan<byte>(packet + length, PageSize - before - length).ContainsAnyExcept(Slack);
    }

    public void Dispose() => _mapping.Dispose();

    private byte* Page(int slot) => _mapping.Address + (((2 * slot) + 1) * PageSize);
}
