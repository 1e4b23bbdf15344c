using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.FastPath.Capture;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Trace;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Worker;

/// <summary>
/// One pinned thread: receives bursts from its sockets, runs the pipeline, puts packets on TX rings or hands them to the
/// injector, and keeps the frames going round. It allocates nothing, locks nothing, makes no system call per packet, and reads the
/// clock at most once in a burst: when something of it is punted.
/// </summary>
internal sealed unsafe class ForwardingWorker : IDisposable
{
    /// <summary>Empty loops before it sleeps; about 20 µs.</summary>
    private const int SpinLoops = 400;

    /// <summary>Asleep it must still beat within HEARTBEAT_PERIOD_NS of bpf/xdp_def.h.</summary>
    private const int SleepMilliseconds = 8;

    private const int RefillBatch = 64;

    /// <summary>Ten times the weight of an ordinary process.</summary>
    private const int Niceness = -10;

    /// <summary>A frame counts as lost when this many looks in a row, 8 ms apart, did not find it.</summary>
    private const int LossLooks = 16;

    private readonly Umem _umem;
    private readonly ulong* _beat;
    private readonly bool _spin;
    private readonly PortCounters* _counters;
    private readonly WorkerState* _state;
    private readonly Thread _thread;
    private FrameList _free;
    private PacketVector _vector;
    private PuntLimiter _limiter;
    private SocketSet _set;
    private SocketSet _nextSet;
    private bool _stop;
    private uint _fillTarget;
    private ulong _missing;
    private int _looks;
    private TapBudget _tapBudget;
    private bool _tapped;
    private readonly Lock _errandGate = new();
    private Action? _errand;
    private Action? _errandDone;

    public ForwardingWorker(
        int id, int cpu, Umem umem, SocketSet set, PortCounters* counters, WorkerState* state, PuntLimit* limits, ulong* beat, bool spin)
    {
        Id = id;
        Cpu = cpu;
        _umem = umem;
        _set = set;
        _nextSet = set;
        _counters = counters;
        _state = state;
        _beat = beat;
        _spin = spin;
        _free = new FrameList(umem.Frames, umem.Stride);
        _vector = PacketVector.Allocate();
        _limiter = new PuntLimiter(limits);
        _state->Id = (uint)id;
        _state->Cpu = (uint)cpu;
        _state->Frames = umem.Frames;
        _state->FramesLost = 0;
        UseSet();
        Tracer = new WorkerTracer(id, umem.FrameSize);
        _thread = new Thread(Run, 256 << 10) { Name = $"worker-{id}", IsBackground = true };
    }

    public int Id { get; }

    public int Cpu { get; }

    /// <summary>For those who trace packets.</summary>
    public WorkerTracer Tracer { get; }

    /// <summary>Why the thread ended, when it was not told to.</summary>
    public Exception? Failure { get; private set; }

    public void Start() => _thread.Start();

    public void Stop()
    {
        Volatile.Write(ref _stop, true);
        if (_thread.IsAlive)
        {
            _thread.Join();
        }
    }

    /// <summary>
    /// Makes the worker use another set. When this returns true it has let go of the old one, and the frames that were in
    /// rings of sockets not in the new set are free again.
    /// </summary>
    public bool Exchange(SocketSet set, TimeSpan patience)
    {
        SocketSet old = _set;
        Volatile.Write(ref _nextSet, set);
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)patience.TotalNanoseconds;
        while (Volatile.Read(ref _set) != set)
        {
            if (MonotonicClock.Nanoseconds > deadline || Failure is not null)
            {
                return false;
            }

            Thread.Sleep(1);
        }

        old.Dispose();
        return true;
    }

    /// <summary>
    /// Has the worker do something between two bursts, where it may read the tables as it does itself. Short, and without exceptions.
    /// </summary>
    /// <returns>False when it made no progress for so long, and has not begun.</returns>
    public bool TryDo(Action errand, TimeSpan patience)
    {
        lock (_errandGate)
        {
            Volatile.Write(ref _errand, errand);
            for (ulong deadline = MonotonicClock.Nanoseconds + (ulong)patience.TotalNanoseconds; Volatile.Read(ref _errandDone) != errand;)
            {
                bool late = Failure is not null || MonotonicClock.Nanoseconds > deadline;
                if (late && Interlocked.CompareExchange(ref _errand, null, errand) == errand)
                {
                    return false;
                }

                if (late && Failure is not null)
                {
                    return false;
                }

                Thread.Sleep(1);
            }

            return true;
        }
    }

    public void Dispose()
    {
        Stop();
        _vector.Free();
        _free.Free();
        _set.Dispose();
        Tracer.Dispose();
    }

    private void Run()
    {
        try
        {
            ulong* mask = stackalloc ulong[16];
            new Span<ulong>(mask, 16).Clear();
            mask[Cpu >> 6] = 1ul << (Cpu & 63);
            LinuxException.ThrowIfNegative(Libc.sched_setaffinity(0, 128, mask), "sched_setaffinity to CPU", $"{Cpu}");

            // A machine busy with other things must not keep a worker off its CPU so long that the heartbeat counts it as hung.
            CpuPriority.SetThread(Niceness);
            CpuPriority.SetSession(Niceness);
            Volatile.Write(ref _state->Online, 1);
            Loop();
        }
        catch (Exception e)
        {
            Failure = e; // its beat stops, so XDP hands over to Linux; the control thread sees the failure and ends the process
        }
        finally
        {
            Volatile.Write(ref _state->Online, 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Loop()
    {
        int idle = 0;
        while (!Volatile.Read(ref _stop))
        {
            if (Volatile.Read(ref _nextSet) != _set)
            {
                SwitchSet();
            }

            if (Volatile.Read(ref _errand) is not null)
            {
                DoErrand();
            }

            int count = _set.Count;
            XskSocket** sockets = _set.Sockets;
            uint received = 0;
            for (int i = 0; i < count; i++)
            {
                received += Receive(sockets[i]);
            }

            for (int i = 0; i < count; i++)
            {
                XskSocket* s = sockets[i];
                if (s->KickNeeded != 0)
                {
                    Kick(s);
                }

                Reclaim(s);
            }

            for (int i = 0; i < count; i++)
            {
                Refill(sockets[i]);
            }

            // No reference into a table is held here.
            Volatile.Write(ref _state->Quiescent, _state->Quiescent + 1);
            Volatile.Write(ref *_beat, *_beat + 1);
            if (received != 0)
            {
                idle = 0;
            }
            else if (++idle == 1 && _tapped)
            {
                _tapBudget.Idle();
                Tracer.Idle();
                _tapped = false; // until the next packet that is shown
            }
            else if (idle >= SpinLoops)
            {
                idle = 0;
                CheckFrames();
                if (!_spin)
                {
                    _state->Sleeps++;
                    _ = Libc.Quiet.poll(_set.Poll, (nuint)count, SleepMilliseconds);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private uint Receive(XskSocket* s)
    {
        uint n = s->Rx.Available;
        if (n == 0)
        {
            return 0;
        }

        if (n > PacketVector.Size)
        {
            n = PacketVector.Size;
        }

        byte* memory = _umem.Base;
        uint index = s->Rx.Index;
        for (uint i = 0; i < n; i++)
        {
            ref Libc.xdp_desc d = ref s->Rx.Descriptor(index + i);
            ulong address = d.addr;
            _vector.Frame[i] = address;
            _vector.Data[i] = memory + Umem.OffsetOf(address);
            _vector.Length[i] = d.len;
        }

        s->Rx.Index = index + n;
        s->Rx.Release();
        s->Outstanding -= n;
        _vector.Count = (int)n;
        PacketTap tap = _set.Taps[s->PortId];
        if (tap.IsOn || Tracer.IsOn)
        {
            RunWatched(s, tap);
        }
        else
        {
            Pipeline.Run(ref _vector, in *s->Tables, s->PortId, s->PartialChecksums);
            Settle(s->PortId);
        }

        _state->Bursts++;
        return n;
    }

    /// <summary>Packet sockets (tcpdump) and traces see what goes through.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void RunWatched(XskSocket* s, PacketTap tap)
    {
        _tapped = true;
        bool tapped = tap.IsOn, traced = Tracer.IsOn && Tracer.Before(in _vector, s->PortId);
        if (tapped)
        {
            _tapBudget.Earn();
            tap.Before(in _vector, s->PortId);
        }

        if (traced)
        {
            Pipeline.Run(ref _vector, in *s->Tables, s->PortId, s->PartialChecksums, Tracer.Observer);
        }
        else
        {
            Pipeline.Run(ref _vector, in *s->Tables, s->PortId, s->PartialChecksums);
        }

        if (tapped)
        {
            tap.After(ref _vector, s->PortId, _counters, ref _tapBudget);
        }

        Settle(s->PortId);
        if (traced)
        {
            Tracer.After(in _vector, s->PortId);
        }
    }

    /// <summary>Every packet of the vector goes one of three ways, and is counted there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Settle(int rxPort)
    {
        XskSocket** txByPort = _set.TxByPort;
        PortCounters* rx = _counters + rxPort;
        Injector injector = _set.Injectors[rxPort];
        _limiter.Begin();
        int n = _vector.Count;
        ulong forwarded = 0;
        for (int i = 0; i < n; i++)
        {
            byte verdict = _vector.Verdict[i];
            if (verdict == (byte)Verdict.Forward)
            {
                int port = _vector.TxPort[i];
                XskSocket* s = txByPort[port];
                if (s != null && (s->Tx.Index - Volatile.Read(ref *s->Tx.Consumer) < XskSocket.RingSize || MakeRoom(s)))
                {
                    uint length = _vector.TxLength[i];
                    ref Libc.xdp_desc d = ref s->Tx.Descriptor(s->Tx.Index);
                    d.addr = _vector.Frame[i];
                    d.len = length;
                    d.options = 0;
                    s->Tx.Index++;
                    s->KickNeeded = 1;
                    PortCounters* tx = _counters + port;
                    tx->Tx++;
                    tx->TxBytes += length;
                    forwarded++;
                }
                else
                {
                    _vector.Verdict[i] = (byte)Verdict.Drop;
                    _vector.Reason[i] = (byte)DropReason.TxRingFull;
                    rx->Dropped[(int)DropReason.TxRingFull]++;
                    _free.Push(_vector.Frame[i]);
                }
            }
            else if (verdict == (byte)Verdict.Punt)
            {
                byte reason = _vector.Reason[i];
                if (_limiter.Admits(reason))
                {
                    injector.Add(_vector.Data[i], _vector.Length[i], rxPort, reason);
                }
                else
                {
                    rx->PuntLimited[reason]++;
                    rx->Dropped[(int)DropReason.PuntLimited]++;
                    _vector.Verdict[i] = (byte)Verdict.Drop;
                    _vector.Reason[i] = (byte)DropReason.PuntLimited;
                    _free.Push(_vector.Frame[i]);
                }
            }
            else
            {
                rx->Dropped[_vector.Reason[i]]++;
                _free.Push(_vector.Frame[i]);
            }
        }

        rx->Forwarded += forwarded;
        if (injector.Count != 0)
        {
            // Sent before the frames are given back: the kernel copies inside the call.
            ulong refused = injector.Flush(rx);
            for (int i = 0; i < n; i++)
            {
                if (_vector.Verdict[i] == (byte)Verdict.Punt)
                {
                    _free.Push(_vector.Frame[i]);
                    if ((refused & 1) != 0)
                    {
                        _vector.Verdict[i] = (byte)Verdict.Drop;
                        _vector.Reason[i] = (byte)DropReason.PuntOverrun;
                    }

                    refused >>= 1;
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool MakeRoom(XskSocket* s)
    {
        Kick(s);
        Reclaim(s);
        return s->Tx.Waiting < XskSocket.RingSize;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Kick(XskSocket* s)
    {
        s->Tx.Publish();
        if (s->Tx.NeedsWakeup)
        {
            _ = Libc.Quiet.sendto(s->Fd, null, 0, Libc.MSG_DONTWAIT, null, 0);
        }

        // What the kernel left (its budget was spent, the device is down) is kicked again in the next loop.
        s->KickNeeded = s->Tx.Waiting;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Reclaim(XskSocket* s)
    {
        uint n = s->Completion.Available;
        if (n != 0)
        {
            uint index = s->Completion.Index;
            for (uint i = 0; i < n; i++)
            {
                _free.Push(s->Completion.Address(index + i));
            }

            s->Completion.Index = index + n;
            s->Completion.Release();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Refill(XskSocket* s)
    {
        int want = (int)(_fillTarget - s->Outstanding); // negative after the target was lowered
        if (want < RefillBatch)
        {
            return;
        }

        uint n = Math.Min((uint)want, _free.Count);
        if (n != 0)
        {
            uint index = s->Fill.Index;
            for (uint i = 0; i < n; i++)
            {
                s->Fill.Address(index + i) = _free.Pop();
            }

            s->Fill.Index = index + n;
            s->Fill.Publish();
            s->Outstanding += n;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void DoErrand()
    {
        if (Interlocked.Exchange(ref _errand, null) is Action errand) // else it has been withdrawn
        {
            errand();
            Volatile.Write(ref _errandDone, errand);
        }
    }

    /// <summary>
    /// Looks for every frame in the free list and the rings. One on its way between two rings, inside the kernel, is in
    /// neither: only what stays missing counts as lost.
    /// </summary>
    private void CheckFrames()
    {
        ulong inFill = 0, inRings = 0;
        for (int i = 0; i < _set.Count; i++)
        {
            XskSocket* s = _set.Sockets[i];
            inFill += s->Fill.Waiting;
            inRings += s->Rx.Available + s->Tx.Waiting + s->Completion.Available;
        }

        ulong found = inFill + inRings + _free.Count;
        ulong missing = found < _umem.Frames ? _umem.Frames - found : 0;
        _state->FramesInUse = _umem.Frames - Math.Min(_umem.Frames, inFill + _free.Count);
        _missing = _looks == 0 ? missing : Math.Min(_missing, missing);
        if (missing == 0 || ++_looks >= LossLooks)
        {
            _state->FramesLost = missing == 0 ? 0 : _missing;
            _looks = 0;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void SwitchSet()
    {
        SocketSet next = Volatile.Read(ref _nextSet);
        for (int i = 0; i < _set.Count; i++)
        {
            XskSocket* s = _set.Sockets[i];
            if (!next.Contains(s))
            {
                Drain(s);
            }
        }

        Volatile.Write(ref _set, next);
        UseSet();
    }

    /// <summary>Takes every frame out of the rings of a socket that the kernel has let go of.</summary>
    private void Drain(XskSocket* s)
    {
        Reclaim(s);
        for (uint i = *s->Fill.Consumer; i != s->Fill.Index; i++)
        {
            _free.Push(s->Fill.Address(i));
        }

        for (; s->Rx.Available != 0; s->Rx.Index++)
        {
            _free.Push(s->Rx.Descriptor(s->Rx.Index).addr);
        }

        for (uint i = *s->Tx.Consumer; i != s->Tx.Index; i++)
        {
            _free.Push(s->Tx.Descriptor(i).addr);
        }
    }

    private void UseSet()
    {
        int n = _set.Count;

        // Half of the frames may be on their way out; the other half is shared out for receiving.
        _fillTarget = n == 0 ? 0 : Math.Clamp(_umem.Frames / 2 / (uint)n, (uint)RefillBatch, XskSocket.RingSize);
        for (int i = 0; i < n; i++)
        {
            XskSocket* s = _set.Sockets[i];
            if (s->Outstanding < _fillTarget)
            {
                Refill(s);
            }
        }
    }
}
