namespace FastPathSync.FastPath.Xsk;

/// <summary>The part of an AF_XDP socket that its worker touches; in native memory, used by that worker alone.</summary>
internal unsafe struct XskSocket
{
    /// <summary>
    /// Entries of each ring. A worker never has more frames than that posted and not yet received, so the RX ring can't
    /// overflow: too much traffic shows as an empty fill ring, and no frame ever sticks in the kernel's pool.
    /// </summary>
    public const uint RingSize = 2048;

    public XskRing Rx;
    public XskRing Fill;
    public XskRing Tx;
    public XskRing Completion;
    public int Fd;
    public int PortId;

    /// <summary>Of the VRF that the port is in, for the worker that the socket belongs to.</summary>
    public WorkerTables* Tables;

    /// <summary>Frames posted to the fill ring and not yet received.</summary>
    public uint Outstanding;

    /// <summary>Nonzero: descriptors were put on the TX ring since the last kick that emptied it.</summary>
    public uint KickNeeded;

    /// <summary>Set before the port is attached: see Pipeline.Run.</summary>
    public bool PartialChecksums;
}
