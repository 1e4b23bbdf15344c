using FastPathSync.Bpf;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.Netlink.TrafficControl;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>A policer that the kernel keeps, found by its filter: nothing else remembers it.</summary>
internal sealed class AttachedPolicer(string dev, TcPlace place, LoadedProgram program) : IDisposable
{
    /// <summary>Ours have one filter in a priority.</summary>
    public const uint Handle = 1;

    public string Dev => dev;

    public TcPlace Place => place;

    public LoadedProgram Program => program;

    public static uint Parent(TcDirection direction) => direction == TcDirection.Ingress ? TcFilter.IngressParent : TcFilter.EgressParent;

    /// <summary>The older qdisc "ingress" has no egress, and answers with its ingress when asked for it.</summary>
    public static bool HasHook(QdiscMessage qdisc, TcDirection direction) => direction == TcDirection.Ingress || qdisc.Kind == "clsact";

    /// <summary>Those of the calling thread's network namespace, or of one interface of it.</summary>
    public static List<AttachedPolicer> Find(RtnetlinkDump dump, uint? ifindex)
    {
        Dictionary<int, string> names = dump.Links().ToDictionary(l => l.Index, l => l.Name);
        List<AttachedPolicer> found = [];
        foreach (QdiscMessage q in dump.Qdiscs().Where(q => q.Parent == QdiscConstants.TC_H_INGRESS && (ifindex is null || q.Index == ifindex)))
        {
            foreach (TcDirection direction in Enum.GetValues<TcDirection>().Where(d => HasHook(q, d)))
            {
                foreach (TcFilter f in dump.Filters(q.Index, Parent(direction)))
                {
                    TcPlace place = new((uint)q.Index, direction, f.Priority, f.Handle);
                    if (names.TryGetValue(q.Index, out string? dev) && TryOpen(dev, place, f) is AttachedPolicer policer)
                    {
                        found.Add(policer);
                    }
                }
            }
        }

        return [.. found.OrderBy(p => p.Dev, StringComparer.Ordinal).ThenBy(p => p.Place.Direction).ThenBy(p => p.Place.Priority)];
    }

    /// <summary>Null when the filter is no policer.</summary>
    public static AttachedPolicer? TryOpen(string dev, TcPlace place, TcFilter filter)
    {
        if (filter.ProgramId == 0 || LoadedProgram.TryOpen(filter.ProgramId) is not LoadedProgram program)
        {
            return null;
        }

        if (program.Name == PolicerLayout.Program)
        {
            return new AttachedPolicer(dev, place, program);
        }

        program.Dispose();
        return null;
    }

    public PolicerConstants Constants =>
        Map(PolicerLayout.Constants).TryLookup(0u, out PolicerConstants c) ? c : throw Foreign();

    public BpfMap Map(string name) => program.TryMap(name) ?? throw Foreign();

    public void Dispose() => program.Dispose();

    private CliError Foreign() =>
        new($"policer on {dev}, priority {place.Priority}: it was made by another version of fpctl; delete it (fpctl policer del --dev {dev} --priority {place.Priority}) and add it again");
}
