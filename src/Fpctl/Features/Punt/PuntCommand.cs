using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Rpc;
using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.NetFpc;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Punt;

/// <summary>The token buckets that stand between the exceptions of the fast path and Linux.</summary>
internal static class PuntCommand
{
    private static readonly Argument<string> s_reason = new("REASON") { Description = "as `punt show` and `stats` name it, or 'all'" };

    private static readonly Option<string> s_rate = new("--rate")
    {
        Description = "packets per second, of all workers together",
        HelpName = "N[/s]|Nk|unlimited|default",
        Required = true,
    };

    private static readonly Option<long?> s_burst = new("--burst")
    {
        Description = $"packets that may come at once, {PuntLimitSetting.LeastBurst} or more (if not given, a tenth of a second's)",
        HelpName = "N",
    };

    public static Command Create() => new("punt", "the exceptions that Linux is given, and how many of each reason")
    {
        ShowCommand.Create(
            "every punt reason with its limit, and what was punted and dropped", FpctlJson.Default.IEnumerablePuntView,
            (context, tables, _) => PuntReader.Show(tables, new StatisticsBaseline(context.Instance.In(StatisticsBaseline.FileName))),
            ["reason", "rate", "burst", "", "tokens", "punted", "limited"],
            v => [[v.Reason, v.Rate is uint r ? $"{r}/s" : PuntLimitSetting.NoLimit, Cell.Of(v.Burst), v.Default ? PuntLimitSetting.DefaultLimit : "set", Cell.Of(v.Tokens),
                Cell.Of(v.Punted), Cell.Of(v.Limited)]]),
        CliContext.Action(new Command("limit", "set the limit of a reason: it holds until the instance is stopped") { s_reason, s_rate, s_burst }, Limit),
    };

    private static int Limit(CliContext context, ParseResult parsed)
    {
        (PuntReason? reason, uint? rate, uint? burst) = Read(parsed);
        using NetFpcClient client = FastPathCall.Connect(context);
        FastPathCall.Do(context, () =>
        {
            client.SetPuntLimit((uint?)reason, rate, burst);
            return true;
        });
        using InstanceTables tables = ShowCommand.Open(context);
        IEnumerable<PuntView> now = PuntReader.Show(tables, new StatisticsBaseline(context.Instance.In(StatisticsBaseline.FileName)))
            .Where(v => reason is not PuntReason r || v.Reason == ReasonNames.Of(r));
        if (context.Json)
        {
            CliContext.WriteJson(w => System.Text.Json.JsonSerializer.Serialize(w, now, FpctlJson.Default.IEnumerablePuntView));
            return 0;
        }

        foreach (PuntView v in now)
        {
            Console.Out.WriteLine($"{v.Reason}: {(v.Rate is uint r ? $"{r}/s with bursts of {v.Burst}" : PuntLimitSetting.NoLimit)}{(v.Default ? $" ({PuntLimitSetting.DefaultLimit})" : "")}");
        }

        return 0;
    }

    private static (PuntReason? Reason, uint? Rate, uint? Burst) Read(ParseResult parsed)
    {
        try
        {
            PuntReason? reason = PuntLimitSetting.ParseReason(parsed.GetValue(s_reason)!);
            uint? rate = PuntLimitSetting.ParseRate(parsed.GetValue(s_rate)!);
            uint? burst = parsed.GetValue(s_burst) is not long b ? null
                : rate > 0 ? PuntLimitSetting.CheckBurst(b)
                : throw new FormatException($"'{b}' is no burst here: it goes with a rate in packets per second");
            return (reason, rate, burst);
        }
        catch (FormatException e)
        {
            throw new CliError($"punt limit: {e.Message}", CliError.Usage);
        }
    }
}
