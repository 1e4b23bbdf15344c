using System.Diagnostics;
using FastPathSync.CacheManager.Features.Capture;
using FastPathSync.CacheManager.Features.Settings;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// Runs the probes on one thread: at once when the kernel announces a change (bursts are coalesced), every Period where it
/// doesn't, and all of them when the interfaces change. It compares each look with the one before and tells the sink the
/// difference. A probe that cannot look demotes the VRF itself: what we cannot see we must not bypass.
/// </summary>
public sealed class DemotionMonitor : IDetector, IDisposable
{
    private const int LongestWaitMilliseconds = 1000; // for a look, and so for the end of Dispose if the wake-up were lost
    private const int CoalesceMilliseconds = 50;       // least time between two looks of one probe …
    private const int LongestCoalesceMilliseconds = 100; // … which grows with what a look costs, to this at most
    private const int CostFactor = 20;                 // without an announcement a probe looks at most 1/20 of the time …
    private const int LongestPauseMilliseconds = 2000; // … but this often however long it takes
    private const int FailuresBeforeDemotion = 3;     // a dump can fail once when an interface vanishes under it
    private const int MostOfInterfaces = 200;         // of one probe: fpmd's table has 512 places for all demotions
    private const int AbsentPeriodMilliseconds = 10_000; // asking for an absent family makes the kernel look for its module

    private readonly ILogger _logger;
    private readonly Watched[] _watched;
    private readonly ManualResetEventSlim _firstLook = new();
    private Thread? _thread;
    private readonly FileDescriptor _wake;  // readable when the thread is to go round …
    private readonly FileDescriptor _waker; // … and the other end, written to
    private volatile bool _stop;

    public DemotionMonitor(ILogger<DemotionMonitor> logger, SettingsFeature settings, CaptureFeature captures)
        : this(logger, [
            new InterfaceProbe(), new SharedAddressProbe(), new NftablesProbe(), new LegacyTablesProbe(), new LegacyTablesProbe(ipv6: true), new XfrmProbe(),
            new TrafficControlProbe(), new TcxProbe(), new SysctlProbe(settings), new PacketSocketProbe(captures)])
    {
    }

    internal DemotionMonitor(ILogger logger, IReadOnlyList<Probe> probes)
    {
        _logger = logger;
        _watched = [.. probes.Select(p => new Watched(p))];
        (_wake, _waker) = SocketPair();
    }

    public string Name => "kernel";

    /// <summary>
    /// Starts the thread, in the namespace of the calling thread, and returns when every probe has looked once: whoever asks
    /// for traffic after that has its demotions already.
    /// </summary>
    public void Start(IDemotionSink sink, Func<IReadOnlyCollection<InterfaceInfo>> interfaces)
    {
        _thread = new Thread(() => Run(sink, interfaces)) { Name = "demotion", IsBackground = true };
        _thread.Start();
        _firstLook.Wait();
    }

    public void InterfacesChanged() => Wake();

    public void Dispose()
    {
        _stop = true;
        Wake();
        _thread?.Join();
        foreach (Watched w in _watched)
        {
            w.Probe.Dispose();
        }

        _wake.Dispose();
        _waker.Dispose();
        _firstLook.Dispose();
    }

    private unsafe void Run(IDemotionSink sink, Func<IReadOnlyCollection<InterfaceInfo>> interfaces)
    {
        Libc.pollfd* descriptors = stackalloc Libc.pollfd[_watched.Length + 1]; // the last is the wake-up
        int fingerprint = 0;
        while (!_stop)
        {
            InterfaceSet known = new(interfaces());
            bool changed = known.Fingerprint != fingerprint;
            fingerprint = known.Fingerprint;
            foreach (Watched w in _watched)
            {
                long now = Stopwatch.GetTimestamp();
                if (changed)
                {
                    w.Due = Math.Min(w.Due, w.Earliest);
                }

                if (now >= w.Due)
                {
                    LookOnce(w, known, sink);
                }
            }

            _firstLook.Set();
            Wait(descriptors);
        }
    }

    private unsafe void Wait(Libc.pollfd* descriptors)
    {
        long now = Stopwatch.GetTimestamp();
        long until = now + Ticks(LongestWaitMilliseconds);
        for (int i = 0; i < _watched.Length; i++)
        {
            Watched w = _watched[i];
            until = Math.Min(until, w.Due);

            // One that has spoken is not listened to until its look, so that a burst doesn't wake us for each message.
            descriptors[i] = new Libc.pollfd { fd = w.Spoken || !w.Open ? -1 : w.Probe.Descriptor, events = Libc.POLLIN };
        }

        descriptors[_watched.Length] = new Libc.pollfd { fd = _wake.Number, events = Libc.POLLIN };
        int milliseconds = (int)Math.Max(0, Math.Ceiling((until - now) * 1000.0 / Stopwatch.Frequency));
        if (Libc.poll(descriptors, (nuint)_watched.Length + 1, milliseconds) <= 0)
        {
            return;
        }

        byte scratch;
        while (descriptors[_watched.Length].revents != 0 && Libc.recv(_wake.Number, &scratch, 1, Libc.MSG_DONTWAIT) > 0)
        {
        }

        for (int i = 0; i < _watched.Length; i++)
        {
            if (descriptors[i].revents != 0)
            {
                Watched w = _watched[i];
                w.Spoken = true;
                w.Due = Math.Min(w.Due, w.Earliest);
            }
        }
    }

    private void LookOnce(Watched w, InterfaceSet interfaces, IDemotionSink sink)
    {
        long begin = Stopwatch.GetTimestamp();
        List<Finding> findings = [];
        try
        {
            if (!w.Open)
            {
                w.Probe.Open();
                w.Open = true;
            }

            // Emptied before the look: what is announced from here on brings another look.
            w.Probe.Drain();
            w.Spoken = false;
            w.Probe.Look(interfaces, findings);
            w.Failures = 0;
            w.HasWorked = true;
            Tell(w, Fold(w.Probe.Name, findings), sink);
            long now = Stopwatch.GetTimestamp();

            // The cheaper of two looks: one that was compiled or preempted on its way tells nothing of the next.
            long cost = Math.Min(now - begin, w.LastCost);
            w.LastCost = now - begin;
            w.Earliest = now + Math.Clamp(cost, Ticks(CoalesceMilliseconds), Ticks(LongestCoalesceMilliseconds));
            w.Due = now + Math.Max(Math.Min(cost * CostFactor, Ticks(LongestPauseMilliseconds)), Ticks((int)w.Probe.Period.TotalMilliseconds));
        }
        catch (NotInKernelException e)
        {
            if (!w.Absent)
            {
                _logger.LogInformation("{Probe}: {Reason}: {Consequence}", w.Probe.Name, e.Message, w.HasWorked ? "what it found stays" : "nothing to detect");
                w.Absent = true;
            }

            Close(w, AbsentPeriodMilliseconds);
            if (!w.HasWorked)
            {
                Tell(w, [], sink);
            }
        }
        catch (Exception e)
        {
            w.Failures++;
            Close(w, w.Failures < FailuresBeforeDemotion ? 0 : 1000);

            // One that has never seen anything vouches for nothing.
            int enough = w.HasWorked ? FailuresBeforeDemotion : 1;
            if (w.Failures == enough)
            {
                _logger.LogError(e, "{Probe}: cannot be read", w.Probe.Name);
            }

            if (w.Failures >= enough)
            {
                Tell(w, [new Finding($"detector {w.Probe.Name}", $"{e.Message}: what cannot be seen must not be bypassed; give cmgrd the capability it lacks", DemotionEffect.Vrf, 0)], sink);
            }
        }
    }

    private static unsafe (FileDescriptor Read, FileDescriptor Write) SocketPair()
    {
        int* pair = stackalloc int[2];
        LinuxException.ThrowIfNegative(Libc.socketpair(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0, pair), "socketpair", "of the demotion thread");
        return (new FileDescriptor(pair[0]), new FileDescriptor(pair[1]));
    }

    /// <summary>A full buffer says that a wake-up is on its way already.</summary>
    private unsafe void Wake()
    {
        byte any = 0;
        _ = Libc.send(_waker.Number, &any, 1, Libc.MSG_DONTWAIT | Libc.MSG_NOSIGNAL);
    }

    private static void Close(Watched w, int retryMilliseconds)
    {
        w.Probe.Dispose();
        w.Open = false;
        w.Spoken = false;
        w.Due = w.Earliest = Stopwatch.GetTimestamp() + Ticks(retryMilliseconds);
    }

    /// <summary>Too many findings of single interfaces become one of the VRF.</summary>
    private static List<Finding> Fold(string probe, List<Finding> findings)
    {
        int ofInterfaces = findings.Count(f => f.IfIndex != 0);
        return ofInterfaces <= MostOfInterfaces
            ? findings
            : [.. findings.Where(f => f.IfIndex == 0), new Finding($"many {probe}", $"{ofInterfaces} findings of single interfaces, such as {findings.First(f => f.IfIndex != 0).Object}: more than {MostOfInterfaces} are not told apart", DemotionEffect.Vrf, 0)];
    }

    private static void Tell(Watched w, List<Finding> findings, IDemotionSink sink)
    {
        Dictionary<string, Finding> now = [];
        foreach (Finding f in findings)
        {
            now[f.Object] = f;
            if (!w.Raised.TryGetValue(f.Object, out Finding before) || before != f)
            {
                sink.Raise(f.Object, f.Reason, f.Effect, f.IfIndex, f.Families);
            }
        }

        foreach (string gone in w.Raised.Keys)
        {
            if (!now.ContainsKey(gone))
            {
                sink.End(gone);
            }
        }

        w.Raised = now;
    }

    private static long Ticks(int milliseconds) => milliseconds * Stopwatch.Frequency / 1000;

    private sealed class Watched(Probe probe)
    {
        public Probe Probe { get; } = probe;

        public bool Open { get; set; }

        public bool Absent { get; set; }

        /// <summary>It has looked successfully once: the kernel has what it looks for.</summary>
        public bool HasWorked { get; set; }

        public bool Spoken { get; set; }

        public int Failures { get; set; }

        /// <summary>0 before the first look, which compiles the code it runs.</summary>
        public long LastCost { get; set; }

        public long Due { get; set; }

        public long Earliest { get; set; }

        public Dictionary<string, Finding> Raised { get; set; } = [];
    }
}
