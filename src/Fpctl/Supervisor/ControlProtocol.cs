using System.Buffers.Binary;
using System.Text;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// What supervisor.sock understands beside the segment store (SharedMemory/Segments/SegmentStore.cs: codes below 16):
/// one request per packet, {code u8, text utf-8}; replies are {errno i32 big-endian, text utf-8: with an errno, why}.
/// </summary>
internal static class ControlProtocol
{
    /// <summary>Stop the instance. The reply comes when everything is gone, the directory included.</summary>
    public const byte Stop = 16;

    /// <summary>This connection is a daemon's link; the text is its name. No reply: its end is what matters.</summary>
    public const byte Attach = SupervisorLink.Attach;

    /// <summary>Serve one more port; the text is [VRF/]IF, the home VRF by no name. The reply comes when all daemons have it, or none has.</summary>
    public const byte AddPort = 19;

    /// <summary>Serve that port no longer. The reply comes as for AddPort.</summary>
    public const byte DeletePort = 20;

    /// <summary>More than a change of ports can take, with the way back.</summary>
    private const long ChangeTimeoutSeconds = 90;

    /// <summary>More than a stop can take: two groups of daemons, 3 s each before they are killed.</summary>
    private const long StopTimeoutSeconds = 12;

    /// <returns>False when no supervisor listens, or it doesn't answer.</returns>
    public static bool TryStop(Instance instance)
    {
        try
        {
            return Ask(instance, Stop, "", StopTimeoutSeconds) is { ErrorNumber: 0 };
        }
        catch (LinuxException)
        {
            return false;
        }
    }

    /// <param name="operation">AddPort or DeletePort.</param>
    /// <param name="port">[VRF/]IF</param>
    /// <returns>Null when the supervisor ended before it had answered.</returns>
    /// <exception cref="LinuxException">None listens, or it doesn't answer.</exception>
    public static (int ErrorNumber, string Line)? ChangePort(Instance instance, byte operation, string port) => Ask(instance, operation, port, ChangeTimeoutSeconds);

    private static unsafe (int ErrorNumber, string Line)? Ask(Instance instance, byte operation, string text, long timeoutSeconds)
    {
        using FileDescriptor socket = UnixSocket.Connect(instance.SupervisorSocket);
        long* timeout = stackalloc long[2] { timeoutSeconds, 0 }; // struct timeval
        _ = Libc.setsockopt(socket.Number, Libc.SOL_SOCKET, Libc.SO_RCVTIMEO, timeout, 16);
        UnixSocket.Send(socket, [operation, .. Encoding.UTF8.GetBytes(text)]);
        byte[] reply = new byte[4096];
        int n = UnixSocket.Receive(socket, reply, out _);
        return n < 4 ? null : (BinaryPrimitives.ReadInt32BigEndian(reply), Encoding.UTF8.GetString(reply, 4, n - 4));
    }
}
