using System.CommandLine;
using System.CommandLine.Parsing;
using FastPathSync.Fpctl;
using FastPathSync.Fpctl.Cli;

[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]

RootCommand root = new("FastPathSync: the fast path that Linux configures. See `fpctl COMMAND --help`.");
GlobalOptions.AddTo(root);
foreach (Command command in Commands.All())
{
    root.Subcommands.Add(command);
}

ParseResult parsed = root.Parse(args);
if (parsed.Errors is [ParseError first, ..])
{
    return CliContext.Fail($"{first.Message} See `fpctl --help`.", CliError.Usage);
}

return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
