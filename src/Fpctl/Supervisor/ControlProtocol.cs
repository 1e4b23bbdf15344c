using System.Buffers.Binary;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// What supervisor.sock understands beside the segment store (SharedMemory/Segments/SegmentStore.cs: codes below 16):
/// one request per packet, {code u8, text utf-8}.
/// </summary>
internal static class ControlProtocol
{
    /// <summary>Stop the instance. The reply {errno i32 big-endian} comes when everything is gone, the directory included.</summary>
    public const byte Stop = 16;

    /// <summary>This connection is a daemon's link; the text is its name. No reply: its end is what matters.</summary>
    public const byte Attach = SupervisorLink.Attach;

    /// <summary>More than a stop can take: two groups of daemons, 3 s each before they are killed.</summary>
    private const long StopTimeoutSeconds = 12;

    /// <returns>False when no supervisor listens, or it doesn't answer.</returns>
    public static unsafe bool TryStop(Instance instance)
    {
        try
        {
            using FileDescriptor socket = UnixSocket.Connect(instance.SupervisorSocket);
            long* timeout = stackalloc long[2] { StopTimeoutSeconds, 0 }; // struct timeval
            _ = Libc.setsockopt(socket.Number, Libc.SOL_SOCKET, Libc.SO_RCVTIMEO, timeout, 16);
            UnixSocket.Send(socket, [Stop]);
            byte[] reply = new byte[4];
            return UnixSocket.Receive(socket, reply, out _) == 4 && BinaryPrimitives.ReadInt32BigEndian(reply) == 0;
        }
        catch (LinuxException)
        {
            return false;
        }
    }
}
