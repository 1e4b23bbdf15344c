using System.Runtime.InteropServices;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>
/// Frames that Linux asks the fast path to send (FPTUN command OUTPUT): read from the TAP of a VRF, where bpf/fptun.bpf.c lets
/// nothing else through, and sent by a packet socket through the port that the trailer names, as Linux would send them. The
/// control thread's. --punt tap writes to the same TAP, which is no conflict: what is read there and what is written are two queues.
/// </summary>
internal sealed unsafe class CarrierOutput : IDisposable
{
    /// <summary>At once, so that the control thread comes to its other duties.</summary>
    private const int Batch = 64;

    /// <summary>More than any frame on the carrier, whose MTU is 9000.</summary>
    private const int BufferBytes = 16 << 10;

    private const int EthernetHeader = 14, EtherType = 12;

    private readonly FileDescriptor _tap;
    private readonly FileDescriptor _socket;
    private readonly uint _magic;
    private readonly Func<uint, bool> _isPort;
    private readonly byte* _buffer = (byte*)NativeMemory.Alloc(BufferBytes);
    private readonly ulong[] _counters = new ulong[FptunOutput.Count - FptunOutput.Sent];
    private uint _mark;

    /// <summary>In the VRF's namespace.</summary>
    /// <param name="magic">What the tc program puts in place of the trailer's: FptunConstants.OutputMagic.</param>
    /// <param name="isPort">By interface index.</param>
    public CarrierOutput(FileDescriptor tap, uint magic, Func<uint, bool> isPort)
    {
        // Protocol 0: it receives nothing.
        _socket = FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket(AF_PACKET)", "OUTPUT");
        (_tap, _magic, _isPort) = (tap, magic, isPort);
    }

    /// <summary>Sends what waits, and counts what becomes of it.</summary>
    public void Serve()
    {
        for (int i = 0; i < Batch; i++)
        {
            nint length = Libc.read(_tap.Number, _buffer, BufferBytes);
            if (length <= 0)
            {
                return; // EAGAIN; a carrier that somebody has broken is CheckCarrier's to notice
            }

            _counters[Send((int)length) - FptunOutput.Sent]++;
        }
    }

    public void AddCounters(Span<ulong> sums)
    {
        for (FptunOutput o = FptunOutput.Sent; o < FptunOutput.Count; o++)
        {
            sums[(int)o] += _counters[o - FptunOutput.Sent];
        }
    }

    public void Dispose()
    {
        _socket.Dispose();
        NativeMemory.Free(_buffer);
    }

    private FptunOutput Send(int length)
    {
        if (length < EthernetHeader + FptunTrailer.Size
            || !FptunTrailer.TryRead(new ReadOnlySpan<byte>(_buffer, length), _magic, out FptunCommand command, out uint ifindex, out uint mark)
            || command != FptunCommand.Output
            || !_isPort(ifindex))
        {
            return FptunOutput.Refused;
        }

        if (mark != _mark)
        {
            LinuxException.ThrowIfNegative(Libc.setsockopt(_socket.Number, Libc.SOL_SOCKET, Libc.SO_MARK, &mark, sizeof(uint)), "SO_MARK", "OUTPUT");
            _mark = mark;
        }

        ReadOnlySpan<byte> type = new(_buffer + EtherType, sizeof(ushort));
        Libc.sockaddr_ll to = new() { sll_family = Libc.AF_PACKET, sll_ifindex = (int)ifindex, sll_protocol = MemoryMarshal.Read<ushort>(type) };
        nuint frame = (nuint)(length - FptunTrailer.Size);
        return Libc.sendto(_socket.Number, _buffer, frame, Libc.MSG_DONTWAIT, &to, (uint)sizeof(Libc.sockaddr_ll)) < 0 ? FptunOutput.Failed : FptunOutput.Sent;
    }
}
