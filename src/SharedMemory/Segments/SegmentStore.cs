using System.Buffers.Binary;
using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.SharedMemory;

/// <summary>
/// The client of the supervisor's segment store: a UNIX seqpacket socket on which a segment's descriptor is put under a
/// name and got back by it, so that whoever dies finds the segments again.
/// </summary>
/// <remarks>
/// One request per packet: {operation u8, name utf-8}; the descriptor of a PUT goes beside it. One reply per request:
/// {errno i32 big-endian}, with the descriptor beside it for GET. PUT replaces. GET of what is not there: ENOENT.
/// KEEP is a PUT that is refused with EEXIST when the name is taken: it re-supplies a store that was restarted. DROP of
/// what is not there succeeds.
/// A supervisor that hangs (SIGSTOP) must not take its readers along: no request waits longer than s_answer, and then
/// throws ETIMEDOUT. Who writes a segment can't do without it and asks again for a while.
/// </remarks>
public sealed class SegmentStore(string socketPath)
{
    public const byte Put = 1, Get = 2, Keep = 3, Drop = 4;

    private static readonly TimeSpan s_answer = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_writersPatience = TimeSpan.FromSeconds(5);

    public void PutSegment(Segment segment)
    {
        if (PatientRequest(Put, segment.Name, segment.File, s_writersPatience, out _) is int errno and not 0)
        {
            throw new LinuxException(errno, "put segment", segment.Name);
        }
    }

    /// <summary>Gives the segment to a store that may have lost it. Does nothing when the store has it.</summary>
    public void KeepSegment(Segment segment)
    {
        if (PatientRequest(Keep, segment.Name, segment.File, s_writersPatience, out _) is int errno and not 0 and not Errno.EEXIST)
        {
            throw new LinuxException(errno, "keep segment", segment.Name);
        }
    }

    /// <summary>Makes the store forget a segment; its memory goes with the last process that has it mapped.</summary>
    public void DropSegment(string name)
    {
        if (PatientRequest(Drop, name, null, s_writersPatience, out _) is int errno and not 0)
        {
            throw new LinuxException(errno, "drop segment", name);
        }
    }

    public Segment? TryGetSegment(string name, SegmentKind kind, bool writable) =>
        TryGet(name, kind, writable, writable ? s_writersPatience : TimeSpan.Zero);

    /// <summary>Waits until its writer has put the segment.</summary>
    /// <exception cref="TimeoutException">The writer never put it.</exception>
    /// <exception cref="LinuxException">ETIMEDOUT: the supervisor did not answer all this time.</exception>
    public Segment GetSegment(string name, SegmentKind kind, bool writable, TimeSpan timeout)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)timeout.TotalNanoseconds;
        while (true)
        {
            if (TryGet(name, kind, writable, timeout) is Segment s)
            {
                return s;
            }

            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new TimeoutException($"shared memory segment '{name}' was not published within {timeout.TotalSeconds:0} s");
            }

            Thread.Sleep(5);
        }
    }

    private Segment? TryGet(string name, SegmentKind kind, bool writable, TimeSpan patience)
    {
        int errno = PatientRequest(Get, name, null, patience, out FileDescriptor? file);
        return errno switch
        {
            0 when file is not null => Segment.Attach(name, file, kind, writable),
            Errno.ENOENT => null,
            _ => throw new LinuxException(errno == 0 ? Errno.EPROTO : errno, "get segment", name),
        };
    }

    /// <summary>Asks again while there is no answer and patience is left. Asking twice does no harm: all requests may be repeated.</summary>
    private int PatientRequest(byte operation, string name, FileDescriptor? file, TimeSpan patience, out FileDescriptor? received)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)patience.TotalNanoseconds;
        while (true)
        {
            try
            {
                return Request(operation, name, file, out received);
            }
            catch (LinuxException e) when (e.ErrorNumber == Errno.EAGAIN)
            {
                if (MonotonicClock.Nanoseconds >= deadline)
                {
                    throw new LinuxException(Errno.ETIMEDOUT, "the supervisor does not answer on", socketPath);
                }
            }
        }
    }

    private int Request(byte operation, string name, FileDescriptor? file, out FileDescriptor? received)
    {
        using FileDescriptor socket = UnixSocket.Connect(socketPath, s_answer);
        byte[] packet = new byte[1 + Encoding.UTF8.GetByteCount(name)];
        packet[0] = operation;
        Encoding.UTF8.GetBytes(name, packet.AsSpan(1));
        UnixSocket.Send(socket, packet, file);
        byte[] reply = new byte[4];
        int n = UnixSocket.Receive(socket, reply, out received);
        return n == 4 ? BinaryPrimitives.ReadInt32BigEndian(reply) : Errno.EPROTO;
    }
}
