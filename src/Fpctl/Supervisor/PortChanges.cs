using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// The supervisor's side of port changes, one at a time: holds the plan, lets PortChange run on a thread of its own, and does for it
/// what only the supervisor's thread may do.
/// </summary>
/// <param name="wake">Any thread: makes the supervisor's thread call Step soon.</param>
internal sealed class PortChanges(Instance instance, InstancePlan plan, IReadOnlyList<SupervisedDaemon> daemons, Action wake, Action<string> log)
{
    private readonly Lock _lock = new();
    private InstancePlan? _toInstall;
    private TaskCompletionSource<string?>? _installed;
    private DaemonExchange? _exchange;
    private (int ErrorNumber, string Line)? _answer;
    private Action<int, string>? _reply;

    /// <summary>A change is under way: Step wants to be called often.</summary>
    public bool IsBusy => _reply is not null;

    /// <summary>Serve another port, or one less.</summary>
    /// <param name="reply">Called once, by this or by Step: errno, and the line that says why.</param>
    public void Begin(byte operation, string port, Action<int, string> reply)
    {
        (int errno, string line) = IsBusy ? (Errno.EBUSY, "another change of ports is under way; try again when it is done")
            : operation == ControlProtocol.AddPort ? MayAdd(port) : MayDelete(port);
        if (errno != 0)
        {
            reply(errno, line);
            return;
        }

        InstancePlan target = operation == ControlProtocol.AddPort ? plan.With(port) : plan.Without(port);
        Start(new PortChange(instance, plan, Install), target, $"port {port}: {(operation == ControlProtocol.AddPort ? "added" : "deleted")}", reply);
    }

    /// <summary>Daemons were adopted: a change may have been cut short.</summary>
    public void Reconcile() => Start(new PortChange(instance, plan, Install), plan, "the daemons have the plan's ports", (_, _) => { });

    /// <summary>Called by the supervisor's thread whenever something may have happened.</summary>
    public void Step()
    {
        lock (_lock)
        {
            if (_toInstall is InstancePlan next)
            {
                _toInstall = null;
                plan = next;
                plan.Write(instance);
                foreach (SupervisedDaemon d in daemons)
                {
                    d.Arguments = plan.ArgumentsOf(d.Plan);
                }

                // The fast path is told, not started again.
                _exchange = new DaemonExchange([.. daemons.Where(d => d.Plan is { TakesPorts: true, StopFirst: false } && !d.RunsWithItsArguments)]);
            }
        }

        if (_exchange is not null)
        {
            _exchange.Step();
            if (_exchange.IsDone)
            {
                string? failure = _exchange.Failure;
                _exchange = null;
                _installed!.SetResult(failure);
            }
        }

        (int ErrorNumber, string Line)? answer;
        lock (_lock)
        {
            answer = _answer;
            _answer = null;
        }

        if (answer is (int errno, string line) && _reply is Action<int, string> reply)
        {
            _reply = null;
            reply(errno, line);
        }
    }

    private void Start(PortChange change, InstancePlan target, string done, Action<int, string> reply)
    {
        _reply = reply;
        new Thread(() =>
        {
            string? failure = change.Run(target);
            log(failure is null ? done : $"ports are as before: {failure}");
            lock (_lock)
            {
                _answer = (failure is null ? 0 : Errno.EIO, failure ?? "");
            }

            wake();
        })
        { IsBackground = true, Name = "ports" }.Start();
    }

    /// <summary>On the change's thread.</summary>
    private string? Install(InstancePlan next)
    {
        TaskCompletionSource<string?> installed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            _installed = installed;
            _toInstall = next;
        }

        wake();
        return installed.Task.GetAwaiter().GetResult();
    }

    private (int ErrorNumber, string Line) MayAdd(string port) =>
        plan.Named().Any(p => p.Name == port) ? (Errno.EEXIST, $"port '{port}' is served already; `fpctl port show` lists the ports")
        : plan.Named().Count() >= Capacities.Ports ? (Errno.E2BIG, $"port '{port}': {Capacities.Ports} ports are served, and there can't be more; delete one first")
        : (0, "");

    private (int ErrorNumber, string Line) MayDelete(string port) =>
        !plan.Named().Any(p => p.Name == port) ? (Errno.ENOENT, $"port '{port}' is none that is served; `fpctl port show` lists the ports")
        : plan.Named().Count() == 1 ? (Errno.EINVAL, $"port '{port}' is the last one, and without ports there is nothing to forward; stop the instance with: fpctl stop --instance {instance}")
        : (0, "");
}
