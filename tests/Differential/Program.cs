using System.Diagnostics;
using FastPathSync.Differential;

RunOptions options;
try
{
    options = RunOptions.Parse(args);
}
catch (FormatException e)
{
    Console.Error.WriteLine($"differential: {e.Message}\n{RunOptions.Usage}");
    return 2;
}

return Oracle.Run(options);
