using System.CommandLine;
using FastPathSync.Bpf;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.Netlink.TrafficControl;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>
/// Policers on tc hooks. They need no daemon: the kernel keeps a policer with its filter, and the filters are the only list
/// of them.
/// </summary>
internal static class PolicerCommand
{
    public static Command Create()
    {
        Command add = CliContext.Action(new Command("add", "limits what an interface receives or sends"), Add);
        foreach (Option o in (Option[])[PolicerOptions.Dev, PolicerOptions.Rate, PolicerOptions.Burst, PolicerOptions.Direction, PolicerOptions.Per, PolicerOptions.Match, PolicerOptions.Flows, PolicerOptions.Priority])
        {
            add.Options.Add(o);
        }

        Command show = CliContext.Action(new Command("show", "the policers of this namespace, what they did, and to whom"), Show);
        show.Options.Add(PolicerOptions.Dev);
        show.Options.Add(PolicerOptions.Shown);
        Command delete = CliContext.Action(new Command("del", "removes policers"), Delete);
        foreach (Option o in (Option[])[PolicerOptions.Dev, PolicerOptions.Direction, PolicerOptions.Priority, PolicerOptions.All])
        {
            delete.Options.Add(o);
        }

        return new Command("policer", "token buckets in eBPF on any interface, for a class of packets or for each source") { add, show, delete };
    }

    private static int Add(CliContext context, ParseResult parsed)
    {
        string dev = parsed.GetValue(PolicerOptions.Dev) ?? throw new CliError("policer add: --dev IF is missing; name the interface", CliError.Usage);
        int flows = parsed.GetValue(PolicerOptions.Flows);
        PolicerSettings settings = new(
            PolicerSettings.ParseRate(parsed.GetValue(PolicerOptions.Rate)!),
            PolicerSettings.CheckBurst(parsed.GetValue(PolicerOptions.Burst)),
            PolicerOptions.PerOf(parsed),
            PolicerMatch.Parse(parsed.GetValue(PolicerOptions.Match)!));
        if (flows is < (int)PolicerSettings.FewestFlows or > (int)PolicerSettings.MostFlows)
        {
            throw new CliError($"--flows {flows}: give {PolicerSettings.FewestFlows} to {PolicerSettings.MostFlows}", CliError.Usage);
        }

        TcDirection direction = PolicerOptions.DirectionOf(parsed) ?? TcDirection.Ingress;
        ushort priority = CheckPriority(parsed) ?? PolicerOptions.DefaultPriority;
        return InNamespace(context, () =>
        {
            TcPlace place = new(IndexOf(dev), direction, priority, AttachedPolicer.Handle);
            RefuseTaken(dev, place);
            using BpfObject program = settings.Open((uint)flows);
            program.Load();
            place.Attach(program.Program(PolicerLayout.Program));
            return 0;
        });
    }

    private static int Show(CliContext context, ParseResult parsed)
    {
        string? dev = parsed.GetValue(PolicerOptions.Dev);
        int? flows = parsed.GetResult(PolicerOptions.Shown) is null ? PolicerOptions.DefaultShown : parsed.GetValue(PolicerOptions.Shown);
        if (flows < 0)
        {
            throw new CliError($"--flows {flows}: give how many flows to show, 0 or more", CliError.Usage);
        }

        List<PolicerView> views = InNamespace(context, () => WithFound(dev, found => found.ConvertAll(p => PolicerReader.Read(p, flows))));
        if (dev is not null && views.Count == 0)
        {
            throw NoneOn(dev);
        }

        ShowCommand.Print(
            context, views, FpctlJson.Default.IEnumerablePolicerView,
            ["interface", "direction", "priority", "rate", "burst", "per", "match", "flows", "passed", "dropped", "untouched", "untracked"],
            p => [[p.Dev, p.Direction, $"{p.Priority}", $"{p.Rate}/s", $"{p.Burst}", p.Per, p.Match, $"{p.FlowsKnown}", $"{p.Passed}", $"{p.Dropped}", $"{p.Unmatched}", $"{p.Untracked}"]]);
        List<string[]> rows = [.. views.SelectMany(p => p.Flows.Select(f => Row(p, f)))];
        if (!context.Json && rows.Count > 0)
        {
            ShowCommand.WriteText(context.Console, Console.Out, ["interface", "direction", "priority", "source", "state", "window starts", "tokens", "passed", "dropped"], rows);
        }

        return 0;
    }

    private static int Delete(CliContext context, ParseResult parsed)
    {
        string? dev = parsed.GetValue(PolicerOptions.Dev);
        TcDirection? direction = PolicerOptions.DirectionOf(parsed);
        ushort? priority = CheckPriority(parsed);
        if (dev is null != parsed.GetValue(PolicerOptions.All))
        {
            throw new CliError("policer del: say which with --dev IF, or --all for every policer of the namespace", CliError.Usage);
        }

        return InNamespace(context, () => WithFound(dev, found =>
        {
            found = found.FindAll(p => (direction ?? p.Place.Direction) == p.Place.Direction && (priority ?? p.Place.Priority) == p.Place.Priority);
            if (dev is not null && found.Count == 0)
            {
                throw NoneOn(dev, direction, priority);
            }

            found.ForEach(p => p.Place.Detach());
            return 0;
        }));
    }

    private static string[] Row(PolicerView p, PolicerFlowView f) =>
        [p.Dev, p.Direction, $"{p.Priority}", f.Source, f.State, f.WindowStartMs > 0 ? $"in {f.WindowStartMs} ms" : $"{-f.WindowStartMs} ms ago", $"{f.Tokens}", $"{f.Passed}", $"{f.Dropped}"];

    private static T WithFound<T>(string? dev, Func<List<AttachedPolicer>, T> work)
    {
        using RtnetlinkDump dump = new();
        List<AttachedPolicer> found = AttachedPolicer.Find(dump, dev is null ? null : IndexOf(dev));
        try
        {
            return work(found);
        }
        finally
        {
            found.ForEach(p => p.Dispose());
        }
    }

    /// <summary>A filter that is in the way, or a qdisc without that hook.</summary>
    private static void RefuseTaken(string dev, TcPlace place)
    {
        using RtnetlinkDump dump = new();
        if (dump.Qdiscs().Find(q => q.Index == place.IfIndex && q.Parent == QdiscConstants.TC_H_INGRESS) is not QdiscMessage qdisc)
        {
            return;
        }

        if (!AttachedPolicer.HasHook(qdisc, place.Direction))
        {
            throw new CliError($"interface '{dev}' has the qdisc '{qdisc.Kind}', which has no egress hook; replace it (tc qdisc del dev {dev} {qdisc.Kind}), and fpctl makes clsact");
        }

        TcFilter taken = dump.Filters(qdisc.Index, AttachedPolicer.Parent(place.Direction)).Find(f => f.Priority == place.Priority);
        if (taken != default)
        {
            using AttachedPolicer? policer = AttachedPolicer.TryOpen(dev, place, taken);
            string what = policer is null ? $"a tc filter ({taken.Kind})" : "a policer", direction = PolicerOptions.Name(place.Direction);
            string delete = policer is null ? "" : $"delete it (fpctl policer del --dev {dev} --direction {direction} --priority {place.Priority}), or ";
            throw new CliError($"interface '{dev}' has {what} on {direction} with priority {place.Priority} already; {delete}give another --priority");
        }
    }

    private static ushort? CheckPriority(ParseResult parsed) => parsed.GetValue(PolicerOptions.Priority) switch
    {
        null => null,
        int p and >= 1 and <= ushort.MaxValue => (ushort)p,
        int p => throw new CliError($"--priority {p}: give 1 to {ushort.MaxValue}", CliError.Usage),
    };

    private static uint IndexOf(string dev) =>
        Libc.if_nametoindex(dev) is uint index and not 0
            ? index
            : throw new CliError($"interface '{dev}': there is none of that name in this namespace; `ip link` lists them, --vrf NAME looks in another namespace");

    private static CliError NoneOn(string dev, TcDirection? direction = null, ushort? priority = null) => new(
        $"interface '{dev}' has no policer{(direction is TcDirection d ? $" on {PolicerOptions.Name(d)}" : "")}{(priority is ushort p ? $" with priority {p}" : "")}; "
        + "`fpctl policer show` lists those of the namespace");

    /// <summary>In the namespace that --vrf names, else in our own.</summary>
    private static T InNamespace<T>(CliContext context, Func<T> work)
    {
        if (context.Vrf is string vrf and not NetworkNamespace.Unnamed && NetworkNamespace.TryInode(vrf) is null)
        {
            throw new CliError($"vrf '{vrf}': there is no network namespace of this name; `ip netns` lists them");
        }

        try
        {
            return context.Vrf is null or NetworkNamespace.Unnamed ? work() : NetworkNamespace.Run($"{NetworkNamespace.Directory}/{context.Vrf}", work);
        }
        catch (BpfException e) when (e.ErrorNumber is Errno.EPERM or Errno.EACCES)
        {
            throw new CliError($"{e.Message}; it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: run fpctl as root");
        }
        catch (BpfException e)
        {
            throw new CliError(e.Log.Length == 0 ? e.Message : $"{e.Message}: {e.Log.Trim()}");
        }
    }
}
