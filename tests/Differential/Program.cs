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

try
{
    return options.Mutate ? new MutationRun(options).Run() : Oracle.Run(options);
}
catch (HarnessException e)
{
    Console.Error.WriteLine($"differential: {e.Message}");
    return 3;
}
