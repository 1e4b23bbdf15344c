namespace FastPathSync.SharedMemory.Tables;

/// <summary>What is to be done with a frame on the carrier. The same numbers as enum fptun_command in bpf/fptun_def.h.</summary>
public enum FptunCommand : byte
{
    None = 0,

    /// <summary>The frame as it came: delivered as received on a port.</summary>
    Basic = 1,

    /// <summary>What was inside of a tunnel: delivered as received on a virtual interface.</summary>
    IfaceInput = 2,

    /// <summary>A copy for packet sockets on a port, and for nobody else.</summary>
    Tap = 3,

    /// <summary>Decrypted: delivered as received, past the policies that ask for encryption.</summary>
    IpsecDone = 4,

    /// <summary>From Linux: the fast path is asked to send it through a port.</summary>
    Output = 5,
    Count = 6,
}

/// <summary>Why bpf/fptun.bpf.c refused a frame: the same numbers as enum fptun_counter in bpf/fptun_def.h.</summary>
public enum FptunRefusal : byte
{
    NoTrailer = 8,
    BadVersion = 9,
    BadCommand = 10,
    BadTarget = 11,
    Forged = 12,
    Count = 13,
}

/// <summary>What became of an OUTPUT frame that the fast path read from the TAP. Counted behind the eBPF program's own numbers.</summary>
public enum FptunOutput : byte
{
    /// <summary>It left by its port.</summary>
    Sent = 13,

    /// <summary>It came past the hook of bpf/fptun.bpf.c, or its port is none any more.</summary>
    Refused = 14,

    /// <summary>Linux didn't take it: the port is down, the frame longer than its MTU, its queue full.</summary>
    Failed = 15,
    Count = 16,
}
