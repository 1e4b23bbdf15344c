using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;
using Spectre.Console;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>What the `show` commands have in common: objects to JSON, or to a table.</summary>
internal static class ShowCommand
{
    /// <summary>Spectre measures every cell of a table; above this many rows plain columns are written as they come.</summary>
    private const int RowsOfATable = 2000;

    /// <param name="cells">The lines of one object, each with as many cells as there are columns.</param>
    public static Command Create<T>(
        string description, JsonTypeInfo<IEnumerable<T>> json, Func<CliContext, InstanceTables, ParseResult, IEnumerable<T>> read,
        string[] columns, Func<T, IEnumerable<string[]>> cells) =>
        CliContext.Action(new Command("show", description), (context, parsed) =>
        {
            using InstanceTables tables = Open(context);
            Print(context, read(context, tables, parsed), json, columns, cells);
            return 0;
        });

    /// <summary>The tables of the VRF asked for, else of the home VRF.</summary>
    public static InstanceTables Open(CliContext context)
    {
        InstanceTables home = new(context.TryOpenSegment);
        if (context.Vrf is null or NetworkNamespace.Unnamed || IsHome(home, context.Vrf))
        {
            return home;
        }

        VrfRecord? found = home.Vrfs.Skip(1).Where(v => v.Name.ToString() == context.Vrf).Cast<VrfRecord?>().FirstOrDefault();
        home.Dispose();
        return found is VrfRecord v
            ? new InstanceTables(context.TryOpenSegment, context.Vrf, (v.Flags & VrfFlags.Small) != 0)
            : throw new CliError(
                $"vrf '{context.Vrf}': instance '{context.Instance}' has no VRF of this name; `fpctl vrf show` lists those it has (start it with --port {context.Vrf}/IF, or --vrfs {context.Vrf})",
                CliError.Usage);
    }

    /// <summary>The VRFs asked for: one, or all of the instance. The tables are disposed of with those given back.</summary>
    public static (InstanceTables Owner, IReadOnlyList<InstanceTables> Vrfs) OpenAll(CliContext context)
    {
        InstanceTables owner = Open(context);
        return context.Vrf is not null
            ? (owner, [owner])
            : (owner, [owner, .. owner.Vrfs.Skip(1).Select(v => owner.OfVrf(v.Name.ToString())).OfType<InstanceTables>()]);
    }

    private static bool IsHome(InstanceTables tables, string name) =>
        name == (tables.Vrfs is [VrfRecord home, ..] ? home.Name.ToString() : NetworkNamespace.Unnamed);

    public static void Print<T>(
        CliContext context, IEnumerable<T> objects, JsonTypeInfo<IEnumerable<T>> json, string[] columns, Func<T, IEnumerable<string[]>> cells)
    {
        if (context.Json)
        {
            CliContext.WriteJson(w => JsonSerializer.Serialize(w, objects, json));
        }
        else
        {
            WriteText(context.Console, Console.Out, columns, [.. objects.SelectMany(cells)]);
        }
    }

    public static void WriteText(IAnsiConsole console, TextWriter output, string[] columns, List<string[]> rows)
    {
        if (rows.Count > RowsOfATable)
        {
            WriteColumns(output, columns, rows);
            return;
        }

        Table table = CliContext.Table(columns);
        foreach (string[] row in rows)
        {
            table.AddRow([.. row.Select(c => new Markup(Colour(c)))]);
        }

        console.Write(table);
    }

    /// <summary>What is good news and what is not, in every table the same.</summary>
    private static string Colour(string cell) => cell switch
    {
        "forward" or "up" or "yes" or "REACHABLE" or "PERMANENT" => $"[green]{cell}[/]",
        "down" or "gone" or "FAILED" or "INCOMPLETE" => $"[yellow]{cell}[/]",
        _ when cell.StartsWith("punt", StringComparison.Ordinal) => $"[yellow]{Markup.Escape(cell)}[/]",
        _ => Markup.Escape(cell),
    };

    private static void WriteColumns(TextWriter output, string[] columns, List<string[]> rows)
    {
        int[] width = [.. columns.Select((c, i) => Math.Max(c.Length, rows.Max(r => r[i].Length)))];
        foreach (string[] row in rows.Prepend(columns))
        {
            output.WriteLine(string.Join("  ", row.Select((c, i) => c.PadRight(width[i]))).TrimEnd());
        }
    }
}

/// <summary>Cells of the tables.</summary>
internal static class Cell
{
    public static string Of(object? value) => value?.ToString() ?? "";

    public static string Verdict(string fastpath, string? reason) => reason is null ? fastpath : $"{fastpath}: {reason}";

    public static string Ago(uint? seconds) => seconds is uint s ? $"{s} s ago" : "";
}
