using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Statistics;

internal static class StatisticsCommand
{
    private static readonly Option<bool> s_reset = new("--reset")
    {
        Description = "count from now on (the counters themselves go on: a baseline is remembered in the instance's directory)",
    };

    private static readonly Option<bool> s_watch = new("--watch") { Description = "refresh every second until Ctrl-C" };

    private static readonly Option<int?> s_count = new("--count") { Description = "with --watch: end after N times", HelpName = "N" };

    public static Command Create()
    {
        Command stats = CliContext.Action(
            new Command("stats", "what was received, forwarded, punted to Linux, dropped and passed, by port, worker and reason"), Run);
        stats.Options.Add(s_reset);
        stats.Options.Add(s_watch);
        stats.Options.Add(s_count);
        return stats;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        bool watch = parsed.GetValue(s_watch), reset = parsed.GetValue(s_reset);
        int? count = parsed.GetValue(s_count);
        if (count is not null && (!watch || count < 1))
        {
            throw new CliError("--count N goes with --watch, and N is at least 1", CliError.Usage);
        }

        if (watch && reset)
        {
            throw new CliError("--reset and --watch don't go together; reset first, then watch", CliError.Usage);
        }

        using InstanceTables tables = ShowCommand.Open(context);
        StatisticsBaseline baseline = new(context.Instance.In(StatisticsBaseline.FileName));
        if (reset)
        {
            Reset(context, tables, baseline);
            return 0;
        }

        if (!watch)
        {
            Write(context, tables, baseline);
        }
        else
        {
            Watch(context, tables, baseline, count ?? int.MaxValue);
        }

        return 0;
    }

    private static void Reset(CliContext context, InstanceTables tables, StatisticsBaseline baseline)
    {
        try
        {
            baseline.Store(StatisticsSnapshot.Take(tables));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliError($"statistics of instance '{context.Instance}': the baseline can't be written: {e.Message}");
        }

        Write(context, tables, baseline);
    }

    private static void Watch(CliContext context, InstanceTables tables, StatisticsBaseline baseline, int count)
    {
        using ManualResetEventSlim stop = new();
        ConsoleCancelEventHandler onCancel = (_, e) =>
        {
            e.Cancel = true; // so that the cursor comes back and the exit status is 0
            stop.Set();
        };
        Console.CancelKeyPress += onCancel;
        try
        {
            if (context.Json || Console.IsOutputRedirected)
            {
                for (int i = 0; i < count && (i == 0 || !stop.Wait(TimeSpan.FromSeconds(1))); i++)
                {
                    Write(context, tables, baseline);
                }

                return;
            }

            context.Console.Live(Render(tables, baseline)).Start(live =>
            {
                for (int i = 1; i < count && !stop.Wait(TimeSpan.FromSeconds(1)); i++)
                {
                    live.UpdateTarget(Render(tables, baseline));
                }
            });
        }
        finally
        {
            Console.CancelKeyPress -= onCancel;
        }
    }

    private static void Write(CliContext context, InstanceTables tables, StatisticsBaseline baseline)
    {
        StatisticsSnapshot snapshot = baseline.Apply(StatisticsSnapshot.Take(tables));
        if (context.Json)
        {
            CliContext.WriteJson(w => StatisticsJson.Write(w, snapshot, (port, seconds) => Rates.Of(tables, port, seconds)));
        }
        else
        {
            context.Console.Write(Render(tables, baseline));
        }
    }

    private static Spectre.Console.Rendering.IRenderable Render(InstanceTables tables, StatisticsBaseline baseline) =>
        StatisticsText.Render(baseline.Apply(StatisticsSnapshot.Take(tables)), (port, seconds) => Rates.Of(tables, port, seconds));
}
