namespace FastPathSync.Packets.Filters;

/// <summary>
/// linux/bpf_common.h and linux/filter.h: what an instruction's code is put together from, and the offsets that mean something
/// other than a place in the packet.
/// </summary>
public static class FilterCode
{
    public const ushort BPF_LD = 0x00, BPF_LDX = 0x01, BPF_ST = 0x02, BPF_STX = 0x03, BPF_ALU = 0x04, BPF_JMP = 0x05, BPF_RET = 0x06, BPF_MISC = 0x07;
    public const ushort BPF_W = 0x00, BPF_H = 0x08, BPF_B = 0x10;
    public const ushort BPF_IMM = 0x00, BPF_ABS = 0x20, BPF_IND = 0x40, BPF_MEM = 0x60, BPF_LEN = 0x80, BPF_MSH = 0xa0;
    public const ushort BPF_ADD = 0x00, BPF_SUB = 0x10, BPF_MUL = 0x20, BPF_DIV = 0x30, BPF_OR = 0x40, BPF_AND = 0x50, BPF_LSH = 0x60, BPF_RSH = 0x70;
    public const ushort BPF_NEG = 0x80, BPF_MOD = 0x90, BPF_XOR = 0xa0;
    public const ushort BPF_JA = 0x00, BPF_JEQ = 0x10, BPF_JGT = 0x20, BPF_JGE = 0x30, BPF_JSET = 0x40;
    public const ushort BPF_K = 0x00, BPF_X = 0x08, BPF_A = 0x10;
    public const ushort BPF_TAX = 0x00, BPF_TXA = 0x80;

    /// <summary>Instructions of a program, and words of its memory.</summary>
    public const int BPF_MAXINSNS = 4096, BPF_MEMWORDS = 16;

    /// <summary>From here up an offset counts from the network header, from the link-layer header, or names what the kernel knows of a packet.</summary>
    public const int SKF_AD_OFF = -0x1000, SKF_NET_OFF = -0x100000, SKF_LL_OFF = -0x200000;

    public const int SKF_AD_PROTOCOL = 0, SKF_AD_PKTTYPE = 4, SKF_AD_IFINDEX = 8, SKF_AD_NLATTR = 12, SKF_AD_NLATTR_NEST = 16, SKF_AD_MARK = 20;
    public const int SKF_AD_QUEUE = 24, SKF_AD_HATYPE = 28, SKF_AD_RXHASH = 32, SKF_AD_CPU = 36, SKF_AD_ALU_XOR_X = 40, SKF_AD_VLAN_TAG = 44;
    public const int SKF_AD_VLAN_TAG_PRESENT = 48, SKF_AD_PAY_OFFSET = 52, SKF_AD_RANDOM = 56, SKF_AD_VLAN_TPID = 60;
}
