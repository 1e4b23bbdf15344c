using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.Fps.Features.Statistics;

/// <summary>
/// Every interval: the sum of all workers' counters, per port and in total, becomes one sample of the time series. Reads
/// the fast path's segments, writes only its own. A sample is missing while the fast path's segments are.
/// </summary>
internal sealed class CounterSampler(DaemonContext daemon, FpsOptions options, ILogger<CounterSampler> log) : BackgroundService
{
    private readonly SegmentStore _store = new(daemon.Instance.SupervisorSocket);
    private Segment? _series;
    private Segment? _state;
    private Segment?[] _workers = [];

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        while (!TryOpenSeries())
        {
            if (stopping.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(100)))
            {
                return;
            }
        }

        daemon.Supervisor.OnReconnected(() => _store.KeepSegment(_series!));
        daemon.Ready("samples the statistics");
        do
        {
            if (Attach())
            {
                Sample(_series!, _state!, _workers);
            }

            _series!.Beat();
        }
        while (!stopping.WaitHandle.WaitOne(options.Interval));
    }

    /// <summary>Attaches to the series of an fpsd before us, or makes a new one.</summary>
    private bool TryOpenSeries()
    {
        try
        {
            _series = _store.TryGetSegment(SegmentNames.TimeSeries, SegmentKind.TimeSeries, writable: true);
            if (_series is null)
            {
                _series = Segment.Create(SegmentNames.TimeSeries, SegmentKind.TimeSeries, TimeSeriesSegment.Samples, TimeSeriesSegment.BodyLength);
                _store.PutSegment(_series);
            }

            return true;
        }
        catch (LinuxException e) when (e.Operation == "connect")
        {
            log.LogDebug("waiting for the supervisor: {Cause}", e.Message);
            return false;
        }
        catch (SegmentException e)
        {
            throw new DaemonStartException(Errno.ESTALE, $"fpsd: {e.Message}", e);
        }
    }

    /// <summary>Asks for the segments anew each time, so that new workers are found; without a supervisor the old ones do.</summary>
    private unsafe bool Attach()
    {
        try
        {
            Replace(ref _state, _store.TryGetSegment(SegmentNames.FastPathState, SegmentKind.FastPathState, writable: false));
            if (_state is null)
            {
                return false;
            }

            int count = (int)Math.Min(FastPathStateSegment.State(_state)->WorkerCount, Capacities.Workers);
            if (_workers.Length != count)
            {
                Array.ForEach(_workers, w => w?.Dispose());
                _workers = new Segment?[count];
            }

            for (int i = 0; i < count; i++)
            {
                Replace(ref _workers[i], _store.TryGetSegment(SegmentNames.Worker(i), SegmentKind.Worker, writable: false));
            }
        }
        catch (LinuxException e)
        {
            log.LogDebug("segments: {Cause}", e.Message);
        }
        catch (SegmentException e)
        {
            log.LogError("{Cause}", e.Message);
            return false;
        }

        return _state is not null;
    }

    private static unsafe void Sample(Segment series, Segment state, Segment?[] workers)
    {
        ulong* next = TimeSeriesSegment.Next(series);
        ulong n = *next;
        CounterSample total = default;
        int ports = (int)Math.Min(FastPathStateSegment.State(state)->PortCount, Capacities.Ports);
        for (int i = 0; i < Capacities.Ports; i++)
        {
            CounterSample sum = default;
            if (i < ports)
            {
                foreach (Segment? worker in workers)
                {
                    if (worker is not null)
                    {
                        AddWorker(ref sum, WorkerSegment.Port(worker, i));
                    }
                }

                AddPort(ref sum, FastPathStateSegment.Port(state, i));
                Add(ref total, in sum);
            }

            *TimeSeriesSegment.Counters(series, n, i) = sum;
        }

        *TimeSeriesSegment.Counters(series, n, Capacities.Ports) = total;
        *TimeSeriesSegment.Time(series, n) = MonotonicClock.Nanoseconds;
        Volatile.Write(ref *next, n + 1);
    }

    private static unsafe void AddWorker(ref CounterSample sum, PortCounters* c)
    {
        sum.Rx += c->Rx;
        sum.RxBytes += c->RxBytes;
        sum.Tx += c->Tx;
        sum.TxBytes += c->TxBytes;
        sum.Forwarded += c->Forwarded;
        for (int r = 0; r < (int)PuntReason.Count; r++)
        {
            sum.Punted += c->Punted[r];
        }

        for (int r = 0; r < (int)DropReason.Count; r++)
        {
            sum.Dropped += c->Dropped[r];
        }
    }

    /// <summary>What the kernel counts of a port: packets it had to drop before a worker saw them count as received, too.</summary>
    private static unsafe void AddPort(ref CounterSample sum, PortState* p)
    {
        ulong unseen = p->RxRingFull + p->NoFrame;
        sum.Rx += unseen;
        sum.Dropped += unseen;
        for (int r = 0; r < (int)PassReason.Count; r++)
        {
            sum.Passed += p->Passed[r];
        }
    }

    private static void Add(ref CounterSample sum, in CounterSample s)
    {
        sum.Rx += s.Rx;
        sum.RxBytes += s.RxBytes;
        sum.Tx += s.Tx;
        sum.TxBytes += s.TxBytes;
        sum.Forwarded += s.Forwarded;
        sum.Punted += s.Punted;
        sum.Dropped += s.Dropped;
        sum.Passed += s.Passed;
    }

    private static void Replace(ref Segment? current, Segment? found)
    {
        if (found is not null)
        {
            current?.Dispose();
            current = found;
        }
    }
}
