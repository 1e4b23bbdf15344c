using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging;

namespace FastPathSync.Hosting;

/// <summary>One structured line per event on stderr: time, level, daemon, category, message, and the event's values.</summary>
/// <remarks>Written at once and unbuffered, so that the last line before a crash is there.</remarks>
internal sealed class LineLoggerProvider(string daemon) : ILoggerProvider
{
    private readonly Lock _gate = new();
    private readonly Stream _out = Console.OpenStandardError();

    public ILogger CreateLogger(string categoryName) => new LineLogger(this, categoryName[(categoryName.LastIndexOf('.') + 1)..]);

    public void Dispose() => _out.Flush();

    private void Write(string line)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(line);
        lock (_gate)
        {
            try
            {
                _out.Write(bytes);
            }
            catch (IOException)
            {
                // A full disk must not stop a daemon.
            }
        }
    }

    private sealed class LineLogger(LineLoggerProvider owner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            StringBuilder b = new(160);
            b.Append(DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z' ", CultureInfo.InvariantCulture));
            b.Append(LevelName(logLevel)).Append(' ').Append(owner.Daemon).Append('/').Append(category).Append(": ");
            b.Append(formatter(state, exception).ReplaceLineEndings(" "));
            if (state is IReadOnlyList<KeyValuePair<string, object?>> values)
            {
                string separator = "  ";
                foreach ((string key, object? value) in values)
                {
                    if (key != "{OriginalFormat}")
                    {
                        b.Append(separator).Append(key).Append('=').Append(Quote(Convert.ToString(value, CultureInfo.InvariantCulture) ?? ""));
                        separator = " ";
                    }
                }
            }

            if (exception is not null)
            {
                b.Append("  exception=").Append(Quote(exception.ToString().ReplaceLineEndings(" | ")));
            }

            owner.Write(b.Append('\n').ToString());
        }

        private static string Quote(string value) =>
            value.Length > 0 && !value.Any(c => c is ' ' or '"' or '=' || char.IsControl(c)) ? value : '"' + value.Replace("\"", "\\\"", StringComparison.Ordinal).ReplaceLineEndings(" ") + '"';

        private static string LevelName(LogLevel level) => level switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info",
            LogLevel.Warning => "warning",
            LogLevel.Error => "error",
            _ => "critical",
        };
    }

    private string Daemon { get; } = daemon;
}
