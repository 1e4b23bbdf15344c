using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>Per second.</summary>
internal sealed record Rate(
    double Rx, double RxBytes, double Tx, double TxBytes, double Forwarded, double Punted, double Dropped, double Passed);

/// <summary>Rates from fpsd's time series.</summary>
internal static unsafe class Rates
{
    /// <summary>Samples older than this say nothing about now: fpsd isn't sampling.</summary>
    public const double MaxAgeSeconds = 5;

    /// <summary>
    /// The average over the last <paramref name="seconds"/> samples of a port (Capacities.Ports: of everything), or null when
    /// there are no two samples or the last is too old.
    /// </summary>
    public static Rate? Of(InstanceTables tables, int port, int seconds) => Of(tables.TimeSeries, port, seconds, MonotonicClock.Nanoseconds);

    public static Rate? Of(Segment? series, int port, int seconds, ulong now)
    {
        if (series is null)
        {
            return null;
        }

        ulong next = Volatile.Read(ref *TimeSeriesSegment.Next(series));
        // One sample of the ring is left out: it may be being written.
        ulong available = Math.Min(next, TimeSeriesSegment.Samples - 1);
        if (available < 2)
        {
            return null;
        }

        ulong last = next - 1, first = last - Math.Min((ulong)seconds, available - 1);
        ulong t1 = *TimeSeriesSegment.Time(series, last), t0 = *TimeSeriesSegment.Time(series, first);
        if (t1 <= t0 || now > t1 + (ulong)(MaxAgeSeconds * 1e9))
        {
            return null;
        }

        CounterSample b = *TimeSeriesSegment.Counters(series, last, port), a = *TimeSeriesSegment.Counters(series, first, port);
        double s = (t1 - t0) / 1e9;
        return new Rate(
            PerSecond(a.Rx, b.Rx, s), PerSecond(a.RxBytes, b.RxBytes, s), PerSecond(a.Tx, b.Tx, s), PerSecond(a.TxBytes, b.TxBytes, s),
            PerSecond(a.Forwarded, b.Forwarded, s), PerSecond(a.Punted, b.Punted, s), PerSecond(a.Dropped, b.Dropped, s),
            PerSecond(a.Passed, b.Passed, s));
    }

    /// <summary>A counter that went backwards was started anew in between.</summary>
    private static double PerSecond(ulong then, ulong now, double seconds) => Math.Round((now >= then ? now - then : now) / seconds, 1);
}
