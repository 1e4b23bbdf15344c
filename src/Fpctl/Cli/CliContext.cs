using System.CommandLine;
using System.Text;
using System.Text.Json;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using Spectre.Console;

namespace FastPathSync.Fpctl.Cli;

/// <summary>What every command gets: the instance, its shared memory, and the way out (JSON or text).</summary>
internal sealed class CliContext
{
    private const int WidthWithoutTerminal = 160;
    private IAnsiConsole? _console;

    private CliContext(Instance instance, bool json, string? vrf)
    {
        Instance = instance;
        Json = json;
        Vrf = vrf;
        Segments = new SegmentStore(instance.SupervisorSocket);
    }

    public Instance Instance { get; }

    public bool Json { get; }

    /// <summary>The VRF asked for, null: none; "default" is the home VRF, the namespace in which the instance was started.</summary>
    public string? Vrf { get; }

    public SegmentStore Segments { get; }

    /// <summary>For text only. Without a terminal: no colours, 160 columns.</summary>
    public IAnsiConsole Console => _console ??= CreateConsole(System.Console.Out, System.Console.IsOutputRedirected);

    /// <summary>Makes a command's action: runs it with a context, and turns what it throws into one line and an exit status.</summary>
    public static Command Action(Command command, Func<CliContext, ParseResult, int> action)
    {
        command.SetAction(parsed =>
        {
            try
            {
                return action(From(parsed), parsed);
            }
            catch (CliError e)
            {
                return Fail(e.Message, e.ExitStatus);
            }
            catch (SegmentException e)
            {
                return Fail(e.Message, CliError.Failed);
            }
            catch (LinuxException e)
            {
                return Fail(e.Message, CliError.Failed);
            }
            catch (TimeoutException e)
            {
                return Fail(e.Message, CliError.Failed);
            }
        });
        return command;
    }

    /// <summary>A segment of the running instance, mapped read-only.</summary>
    /// <exception cref="CliError">The instance isn't running, or the segment isn't there yet.</exception>
    public Segment OpenSegment(string name, SegmentKind kind) =>
        TryOpenSegment(name, kind)
            ?? throw new CliError($"instance '{Instance}': the table '{name}' is not there yet; see `fpctl status` for the daemon that makes it");

    /// <summary>Null when no daemon has made the segment (yet).</summary>
    public Segment? TryOpenSegment(string name, SegmentKind kind)
    {
        try
        {
            return Segments.TryGetSegment(name, kind, writable: false);
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.ENOENT or Errno.ECONNREFUSED && e.Operation == "connect")
        {
            throw NotRunning();
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.EACCES or Errno.EPERM)
        {
            throw new CliError($"instance '{Instance}': {Instance.SupervisorSocket} is private to the user that started it: {Errno.Describe(e.ErrorNumber)}; run fpctl as that user (root)");
        }
    }

    public CliError NotRunning() =>
        new($"instance '{Instance}' is not running; start it with: fpctl start --instance {Instance} --port IF ...", CliError.NotRunning);

    /// <summary>Prints one JSON document on stdout.</summary>
    public static void WriteJson(Action<Utf8JsonWriter> write)
    {
        using Stream o = System.Console.OpenStandardOutput();
        using (Utf8JsonWriter w = new(o, new JsonWriterOptions { Indented = !System.Console.IsOutputRedirected }))
        {
            write(w);
        }

        o.Write("\n"u8);
    }

    /// <summary>A table in the house's look: no frame but a rule under the headings.</summary>
    public static Table Table(params string[] columns)
    {
        Table t = new Table().Border(TableBorder.Simple).BorderColor(Color.Grey);
        foreach (string c in columns)
        {
            t.AddColumn(new TableColumn($"[bold]{Markup.Escape(c)}[/]"));
        }

        return t;
    }

    public static int Fail(string line, int status)
    {
        System.Console.Error.WriteLine($"fpctl: {line.ReplaceLineEndings(" ")}");
        return status;
    }

    internal static IAnsiConsole CreateConsole(TextWriter output, bool plain)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = plain ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = plain ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(output),
        });
        if (plain)
        {
            console.Profile.Width = WidthWithoutTerminal;
            console.Profile.Capabilities.Unicode = true;
            console.Profile.Encoding = Encoding.UTF8;
        }

        return console;
    }

    private static CliContext From(ParseResult parsed)
    {
        string name = parsed.GetValue(GlobalOptions.Instance)!;
        return Hosting.Instance.Fault(name) is string fault
            ? throw new CliError(fault, CliError.Usage)
            : new CliContext(new Instance(name), parsed.GetValue(GlobalOptions.Json), parsed.GetValue(GlobalOptions.Vrf));
    }
}
