using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// Daemons that are ended, and started again with their new arguments when all of them have ended: a cmgrd that is new never speaks to an fpmd
/// that is old. Stepped by the supervisor's thread.
/// </summary>
internal sealed class DaemonExchange
{
    private static readonly TimeSpan s_endPatience = TimeSpan.FromSeconds(3), s_readyPatience = TimeSpan.FromSeconds(20);
    private readonly IReadOnlyList<SupervisedDaemon> _daemons;
    private ulong _deadline = MonotonicClock.Nanoseconds + (ulong)s_endPatience.TotalNanoseconds;
    private bool _started;

    public DaemonExchange(IReadOnlyList<SupervisedDaemon> daemons)
    {
        _daemons = daemons;
        foreach (SupervisedDaemon d in daemons)
        {
            d.Hold();
        }
    }

    public bool IsDone { get; private set; }

    /// <summary>Why not all of them are ready with their new arguments; null when they are.</summary>
    public string? Failure { get; private set; }

    public void Step()
    {
        bool late = MonotonicClock.Nanoseconds > _deadline;
        if (!_started)
        {
            if (_daemons.Any(d => d.IsRunning))
            {
                foreach (SupervisedDaemon d in late ? _daemons : [])
                {
                    d.Kill();
                }

                return;
            }

            _started = true;
            _deadline = MonotonicClock.Nanoseconds + (ulong)s_readyPatience.TotalNanoseconds;
            foreach (SupervisedDaemon d in _daemons)
            {
                d.StartHeld();
            }
        }

        if (_daemons.FirstOrDefault(d => d.State == DaemonState.Restarting && d.ErrorNumber != 0) is SupervisedDaemon refused)
        {
            End(refused.Text ?? $"{refused.Plan.Name}: errno {refused.ErrorNumber}");
        }
        else if (_daemons.All(d => d.State == DaemonState.Ready))
        {
            End(null);
        }
        else if (late)
        {
            SupervisedDaemon waiting = _daemons.First(d => d.State != DaemonState.Ready);
            End($"{waiting.Plan.Name} was not ready within {s_readyPatience.TotalSeconds:0} s of its restart ({waiting.LastExit ?? waiting.Text ?? "it says nothing"}); its log says why");
        }
    }

    private void End(string? failure) => (IsDone, Failure) = (true, failure);
}
