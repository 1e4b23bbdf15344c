using System.Runtime.InteropServices;

namespace FastPathSync.Fpctl.Cli;

/// <summary>Ctrl-C, SIGTERM and SIGHUP ask a command that goes on and on to come to its end.</summary>
internal sealed class Interrupt : IDisposable
{
    private readonly ManualResetEventSlim _asked = new();
    private readonly PosixSignalRegistration[] _signals;

    public Interrupt() => _signals =
    [
        .. ((PosixSignal[])[PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP]).Select(s => PosixSignalRegistration.Create(s, c =>
        {
            c.Cancel = true;
            _asked.Set();
        })),
    ];

    /// <summary>Waits so long, or until it is asked for. True: it is.</summary>
    public bool Wait(TimeSpan time) => _asked.Wait(time);

    public bool IsAsked => _asked.IsSet;

    public void Dispose()
    {
        foreach (PosixSignalRegistration s in _signals)
        {
            s.Dispose();
        }

        _asked.Dispose();
    }
}
