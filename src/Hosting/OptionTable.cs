using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FastPathSync.Hosting;

/// <summary>A bad option: the line says which one, why, and what is allowed.</summary>
public sealed class OptionException(string line) : Exception(line);

/// <summary>
/// The options of a daemon: each is declared with a setter, and set from /etc/fastpathsync/*.json, then by the command
/// line, which wins. A key in a file is the option's name without its dashes; a list is a JSON array.
/// </summary>
/// <remarks>Not Microsoft.Extensions.Configuration: its binder reflects, which is a third of a second of a daemon's start.</remarks>
public sealed class OptionTable
{
    private readonly List<Entry> _entries = [];

    /// <summary>An option with a text value.</summary>
    public OptionTable Text(string name, string placeholder, string help, Action<string> set) =>
        Add(new Entry(name, placeholder, help, set, null));

    /// <summary>An option that may be repeated; the setter gets all values, in order.</summary>
    public OptionTable List(string name, string placeholder, string help, Action<IReadOnlyList<string>> set) =>
        Add(new Entry(name, placeholder, help, null, set));

    /// <summary>An option without value.</summary>
    public OptionTable Flag(string name, string help, Action set) =>
        Add(new Entry(name, null, help, v => { if (v != "false") { set(); } }, null));

    public OptionTable Integer(string name, string placeholder, string help, int minimum, int maximum, Action<int> set) =>
        Text(name, placeholder, help, v =>
        {
            if (!int.TryParse(v, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int n) || n < minimum || n > maximum)
            {
                throw new OptionException($"{name} {v}: not a whole number from {minimum} to {maximum}");
            }

            set(n);
        });

    /// <summary>Seconds, decimals allowed.</summary>
    public OptionTable Seconds(string name, string help, double minimum, double maximum, Action<TimeSpan> set) =>
        Text(name, "SECONDS", help, v =>
        {
            if (!double.TryParse(v, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double s) || s < minimum || s > maximum)
            {
                throw new OptionException(string.Create(CultureInfo.InvariantCulture, $"{name} {v}: not a number of seconds from {minimum} to {maximum}"));
            }

            set(TimeSpan.FromSeconds(s));
        });

    /// <summary>One of a few words.</summary>
    public OptionTable Choice(string name, string help, IReadOnlyList<string> words, Action<string> set) =>
        Text(name, string.Join('|', words), help, v =>
            set(words.Contains(v) ? v : throw new OptionException($"{name} {v}: must be one of {string.Join(", ", words)}")));

    /// <summary>Sets what the files say. Keys that are no option of this daemon are refused, except in a shared file.</summary>
    public void ReadFile(string path, bool shared)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OptionException($"{path}: {e.Message}");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
            foreach (JsonProperty p in document.RootElement.EnumerateObject())
            {
                Entry? entry = _entries.Find(e => e.Name == "--" + p.Name);
                if (entry is null)
                {
                    if (shared)
                    {
                        continue;
                    }

                    throw new OptionException($"{path}: unknown key '{p.Name}'; see --help for the options there are");
                }

                if (entry.SetList is not null && p.Value.ValueKind == JsonValueKind.Array)
                {
                    entry.SetList([.. p.Value.EnumerateArray().Select(v => v.ToString())]);
                }
                else
                {
                    entry.Apply([p.Value.ValueKind is JsonValueKind.True ? "true" : p.Value.ValueKind is JsonValueKind.False ? "false" : p.Value.ToString()]);
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new OptionException($"{path}: not a JSON object: {e.Message}");
        }
    }

    /// <summary>"--name value", "--name=value", or "--flag".</summary>
    public void ReadArguments(IReadOnlyList<string> args)
    {
        Dictionary<Entry, List<string>> lists = [];
        for (int i = 0; i < args.Count; i++)
        {
            string arg = args[i];
            int equals = arg.StartsWith("--", StringComparison.Ordinal) ? arg.IndexOf('=') : -1;
            string name = equals < 0 ? arg : arg[..equals];
            Entry entry = _entries.Find(e => e.Name == name)
                ?? throw new OptionException($"unknown option '{arg}'; see --help for the options there are");
            string value = entry.Placeholder is null ? (equals < 0 ? "true" : arg[(equals + 1)..])
                : equals >= 0 ? arg[(equals + 1)..]
                : i + 1 < args.Count ? args[++i]
                : throw new OptionException($"{name}: the value {entry.Placeholder} is missing");
            if (entry.SetList is null)
            {
                entry.Apply([value]);
            }
            else if (lists.TryGetValue(entry, out List<string>? values))
            {
                values.Add(value);
            }
            else
            {
                lists[entry] = [value];
            }
        }

        foreach ((Entry entry, List<string> values) in lists)
        {
            entry.Apply(values);
        }
    }

    public string Help(string daemon, string purpose)
    {
        StringBuilder b = new();
        b.Append(daemon).Append(": ").AppendLine(purpose).AppendLine().AppendLine("Options:");
        int width = _entries.Max(e => e.Usage.Length);
        foreach (Entry e in _entries)
        {
            b.Append("  ").Append(e.Usage.PadRight(width + 2)).AppendLine(e.Help);
        }

        b.AppendLine().Append("Options may also stand in ").Append(DaemonHost.ConfigurationDirectory).Append('/').Append(daemon)
            .AppendLine(".json and common.json, by name without dashes.");
        return b.ToString();
    }

    private OptionTable Add(Entry entry)
    {
        _entries.Add(entry);
        return this;
    }

    private sealed record Entry(string Name, string? Placeholder, string Help, Action<string>? Set, Action<IReadOnlyList<string>>? SetList)
    {
        public string Usage => Placeholder is null ? Name : $"{Name} {Placeholder}{(SetList is null ? "" : " ...")}";

        public void Apply(IReadOnlyList<string> values)
        {
            SetList?.Invoke(values);
            Set?.Invoke(values[^1]);
        }
    }
}
