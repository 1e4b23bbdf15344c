using System.Runtime.InteropServices;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Capture;

/// <summary>The packet sockets of a VRF, for the fast path to show its packets to.</summary>
public sealed unsafe class CaptureStore(Segment segment, VrfState* vrf)
{
    private Wire.Captures _written = new();
    private bool _known;

    public void Apply(Wire.Captures now)
    {
        if (_known && now.Equals(_written))
        {
            return;
        }

        _known = true;
        _written = now;
        CaptureSegment.Write(segment, [.. now.Sockets.Select(s => new PacketSocketView(
            s.Inode, s.Ifindex, (ushort)s.Protocol, s.Cooked, MemoryMarshal.Cast<byte, ulong>(s.Filter.Span).ToArray()))]);
        Volatile.Write(ref vrf->Change, vrf->Change + 1);
    }
}
