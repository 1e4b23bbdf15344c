using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Compares kernel and shared memory. They are read one after the other, so a change in between makes them differ for a
/// moment: what differs is looked at again, and only what differs every time is reported.
/// </summary>
/// <param name="readKernel">Dumps the kernel's state anew.</param>
/// <param name="wait">Called between two looks.</param>
internal sealed unsafe class Verifier(InstanceTables tables, Func<KernelState> readKernel, Action wait)
{
    /// <summary>The first look and five more.</summary>
    public const int Looks = 6;

    /// <summary>More differences than anyone reads are counted, not listed.</summary>
    public const int Listed = 1000;

    public VerifyReport Run()
    {
        Findings first = Look(null);
        Dictionary<(string, string), Difference> differences = first.Differences;
        HashSet<uint> suspects = first.SuspectAddresses;
        int rechecks = 0;
        while (differences.Count > 0 && rechecks < Looks - 1)
        {
            wait();
            rechecks++;
            Findings again = Look(suspects);
            suspects.IntersectWith(again.SuspectAddresses);
            differences = again.Differences.Where(d => differences.ContainsKey(d.Key)).ToDictionary();
        }

        return new VerifyReport
        {
            Equal = differences.Count == 0,
            Checked = first.Checked,
            Differences = [.. differences.Values.Take(Listed)],
            Omitted = differences.Count > Listed ? differences.Count - Listed : null,
            Rechecks = rechecks,
        };
    }

    private Findings Look(IReadOnlyCollection<uint>? suspects)
    {
        Findings findings = new();
        KernelState kernel = readKernel();
        tables.Refresh();
        TableComparison comparison = new(kernel, tables, findings);
        comparison.Run();
        NexthopComparison nexthops = new(kernel, tables, findings, comparison.Name);
        FibComparison fib = new(kernel, tables, findings, comparison.Name, (tables.Vrf->PassAll & Families.Ipv4) != 0, nexthops);
        if (suspects is null)
        {
            fib.All();
        }
        else
        {
            fib.Only(suspects);
        }

        new Fib6Comparison(kernel, tables, findings, comparison.Name, nexthops).All();
        nexthops.Adjacencies();
        return findings;
    }
}
