using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>linux/if_xdp.h: AF_XDP sockets.</summary>
#pragma warning disable CA1708 // the kernel has both XDP_STATISTICS and struct xdp_statistics
public static unsafe partial class Libc
{
    public const ushort XDP_SHARED_UMEM = 1, XDP_COPY = 2, XDP_ZEROCOPY = 4, XDP_USE_NEED_WAKEUP = 8;
    public const int XDP_MMAP_OFFSETS = 1, XDP_RX_RING = 2, XDP_TX_RING = 3, XDP_UMEM_REG = 4, XDP_UMEM_FILL_RING = 5,
        XDP_UMEM_COMPLETION_RING = 6, XDP_STATISTICS = 7, XDP_OPTIONS = 8, XDP_MAX_TX_SKB_BUDGET = 9;
    public const uint XDP_RING_NEED_WAKEUP = 1;
    public const uint XDP_PACKET_HEADROOM = 256;
    public const uint XDP_UMEM_UNALIGNED_CHUNK_FLAG = 1;
    public const long XDP_PGOFF_RX_RING = 0, XDP_PGOFF_TX_RING = 0x8000_0000, XDP_UMEM_PGOFF_FILL_RING = 0x1_0000_0000,
        XDP_UMEM_PGOFF_COMPLETION_RING = 0x1_8000_0000;

    [StructLayout(LayoutKind.Sequential)]
    public struct sockaddr_xdp
    {
        public ushort sxdp_family;
        public ushort sxdp_flags;
        public uint sxdp_ifindex;
        public uint sxdp_queue_id;
        public uint sxdp_shared_umem_fd;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct xdp_umem_reg
    {
        public ulong addr;
        public ulong len;
        public uint chunk_size;
        public uint headroom;
        public uint flags;
        public uint tx_metadata_len;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct xdp_ring_offset
    {
        public ulong producer;
        public ulong consumer;
        public ulong desc;
        public ulong flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct xdp_mmap_offsets
    {
        public xdp_ring_offset rx;
        public xdp_ring_offset tx;
        public xdp_ring_offset fr;
        public xdp_ring_offset cr;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct xdp_desc
    {
        public ulong addr;
        public uint len;
        public uint options;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct xdp_statistics
    {
        public ulong rx_dropped;
        public ulong rx_invalid_descs;
        public ulong tx_invalid_descs;
        public ulong rx_ring_full;
        public ulong rx_fill_ring_empty_descs;
        public ulong tx_ring_empty_descs;
    }
}
