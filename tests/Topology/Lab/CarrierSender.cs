using System.Buffers.Binary;
using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>A process of the router's namespace that sends frames to fpn0, as the fast path does: with the secret mark, or without.</summary>
public sealed unsafe class CarrierSender : IDisposable
{
    public const string Carrier = "fpn0";
    public const byte Basic = 1, IfaceInput = 2, Tap = 3, IpsecDone = 4, Output = 5;
    private const int PACKET_QDISC_BYPASS = 20; // linux/if_packet.h
    private readonly FileDescriptor _socket;
    private readonly int _carrier;

    /// <param name="mark">SO_MARK.</param>
    /// <param name="pastHooks">PACKET_QDISC_BYPASS: no tc hook sees what it sends.</param>
    public CarrierSender(LabNamespace router, uint mark = 0, bool pastHooks = false)
    {
        _carrier = router.IfIndex(Carrier);
        _socket = router.Inside(() => FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket", "AF_PACKET"));
        LinuxException.ThrowIfNegative(Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_MARK, &mark, sizeof(uint)), "setsockopt", "SO_MARK");
        int bypass = pastHooks ? 1 : 0;
        LinuxException.ThrowIfNegative(Libc.setsockopt(_socket.Number, Libc.SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(int)), "setsockopt", "PACKET_QDISC_BYPASS");
    }

    /// <summary>As anybody may read it who may read eBPF maps.</summary>
    public static uint SecretOf(LabNamespace router)
    {
        using JsonDocument net = JsonDocument.Parse(router.Run("bpftool -j net").Output);
        JsonElement hook = net.RootElement[0].GetProperty("tc").EnumerateArray().First(p => p.GetProperty("devname").GetString() == Carrier);
        int program = hook.GetProperty(hook.TryGetProperty("prog_id", out _) ? "prog_id" : "id").GetInt32(); // tcx, clsact
        using JsonDocument shown = JsonDocument.Parse(router.Run($"bpftool -j prog show id {program}").Output);
        foreach (int map in shown.RootElement.GetProperty("map_ids").EnumerateArray().Select(m => m.GetInt32()))
        {
            if (router.Run($"bpftool -j map show id {map}").Output.Contains(".rodata", StringComparison.Ordinal))
            {
                using JsonDocument dump = JsonDocument.Parse(router.Run($"bpftool -j map dump id {map}").Output);
                byte[] value = [.. dump.RootElement[0].GetProperty("value").EnumerateArray().Select(b => Convert.ToByte(b.GetString(), 16))];
                const int Secret = 16; // struct fptun_constants, in bpf/fptun_def.h
                return BinaryPrimitives.ReadUInt32LittleEndian(value.AsSpan(Secret));
            }
        }

        throw new InvalidOperationException($"program {program} on {Carrier} has no .rodata");
    }

    /// <summary>The last 16 bytes of a frame on the carrier (bpf/fptun_def.h).</summary>
    public static byte[] Trailer(byte command, int ifindex, byte version = 1, uint magic = 0x46505431, ushort flags = 0, uint mark = 0)
    {
        byte[] t = new byte[16];
        BinaryPrimitives.WriteUInt32BigEndian(t, magic);
        (t[4], t[5]) = (version, command);
        BinaryPrimitives.WriteUInt16BigEndian(t.AsSpan(6), flags);
        BinaryPrimitives.WriteInt32BigEndian(t.AsSpan(8), ifindex);
        BinaryPrimitives.WriteUInt32BigEndian(t.AsSpan(12), mark);
        return t;
    }

    public void Send(byte[] frame, byte[] trailer)
    {
        byte[] whole = [.. frame, .. trailer];
        const ushort NobodysProtocol = 0xb588; // FPTUN_ETHERTYPE
        Libc.sockaddr_ll to = new() { sll_family = Libc.AF_PACKET, sll_ifindex = _carrier, sll_protocol = NobodysProtocol };
        fixed (byte* p = whole)
        {
            // What a hook drops is no error of the sender's, or ENOBUFS (net_xmit_errno).
            nint n = Libc.sendto(_socket.Number, p, (nuint)whole.Length, 0, &to, (uint)sizeof(Libc.sockaddr_ll));
            Assert.True(n == whole.Length || System.Runtime.InteropServices.Marshal.GetLastPInvokeError() == Errno.ENOBUFS, $"sendto {Carrier}");
        }
    }

    public void Dispose() => _socket.Dispose();
}
