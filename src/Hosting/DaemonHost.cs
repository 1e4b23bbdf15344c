using FastPathSync.Linux;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.Hosting;

/// <summary>
/// The main function of every daemon: a Generic Host with options, one-line logging on stderr, SIGTERM as clean stop,
/// sd_notify, and a link to the supervisor.
/// </summary>
public static class DaemonHost
{
    public const string ConfigurationDirectory = "/etc/fastpathsync";

    /// <summary>Runs the daemon until it is stopped. Returns the exit status: 0 stopped, 1 failed, 2 bad usage.</summary>
    /// <param name="name">"hitflagsd".</param>
    /// <param name="purpose">One line for --help.</param>
    /// <param name="args">The command line. --instance, --directory, --verbose and --help are known to every daemon.</param>
    /// <param name="declare">Declares the daemon's own options.</param>
    /// <param name="configure">Adds the daemon's hosted services. They call DaemonContext.Ready when they do their work.</param>
    /// <remarks>
    /// A service that can't start throws DaemonStartException from StartAsync (or from ExecuteAsync); anything else thrown
    /// there is told with its own message. In both cases the supervisor gets the line and the process exits 1.
    /// </remarks>
    public static int Run(string name, string purpose, string[] args, Action<OptionTable> declare, Action<IServiceCollection> configure)
    {
        using Notifier notifier = new(Environment.GetEnvironmentVariable(Notifier.Variable));
        Instance instance;
        bool verbose = false;
        try
        {
            string instanceName = Instance.DefaultName;
            string? directory = null;
            OptionTable options = new();
            options.Text("--instance", "NAME", "instance to belong to (default: default)", v => instanceName = v)
                .Text("--directory", "DIR", $"the instance's directory (default: {Instance.BaseDirectory}/NAME)", v => directory = v)
                .Flag("--verbose", "log debug events too", () => verbose = true);
            declare(options);
            if (args.Contains("--help") || args.Contains("-h"))
            {
                Console.Out.Write(options.Help(name, purpose));
                return 0;
            }

            options.ReadFile(Path.Combine(ConfigurationDirectory, "common.json"), shared: true);
            options.ReadFile(Path.Combine(ConfigurationDirectory, $"{name}.json"), shared: false);
            options.ReadArguments(args);
            instance = new Instance(instanceName, directory);
        }
        catch (Exception e) when (e is OptionException or ArgumentException)
        {
            Console.Error.WriteLine($"{name}: {e.Message}");
            notifier.Failed(Errno.EINVAL, $"{name}: {e.Message}");
            return 2;
        }

        DaemonContext context = new(name, instance, notifier);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings
        {
            DisableDefaults = true,
            ApplicationName = name,
            ContentRootPath = "/",
        });
        builder.Services.AddLogging(logging => logging
            .AddProvider(new LineLoggerProvider(name))
            .SetMinimumLevel(verbose ? LogLevel.Debug : LogLevel.Information)
            .AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Microsoft.Extensions.Hosting", LogLevel.None)); // failures are told below, in one line
        builder.Services.AddSingleton(context);
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(5));
        configure(builder.Services);

        using IHost host = builder.Build();
        ILogger log = host.Services.GetRequiredService<ILoggerFactory>().CreateLogger(name);
        context.Supervisor = new SupervisorLink(instance, name, host.Services.GetRequiredService<ILoggerFactory>().CreateLogger(nameof(SupervisorLink)));
        context.Supervisor.OnReconnected(notifier.Repeat);
        try
        {
            host.Start();
            context.Supervisor.Start();
            host.WaitForShutdown();
        }
        catch (Exception e)
        {
            return Fail(log, notifier, name, e);
        }
        finally
        {
            context.Supervisor.Stop();
        }

        foreach (BackgroundService service in host.Services.GetServices<IHostedService>().OfType<BackgroundService>())
        {
            if (service.ExecuteTask is { IsFaulted: true, Exception: AggregateException fault })
            {
                return Fail(log, notifier, name, fault.InnerException!);
            }
        }

        notifier.Stopping();
        log.LogInformation("stopped");
        return 0;
    }

    private static int Fail(ILogger log, Notifier notifier, string name, Exception e)
    {
        Exception cause = e is AggregateException { InnerException: Exception inner } ? inner : e;
        (int errno, string line) = cause switch
        {
            DaemonStartException start => (start.ErrorNumber, start.Message),
            LinuxException linux => (linux.ErrorNumber, $"{name}: {linux.Message}"),
            _ => (Errno.EIO, $"{name}: {cause.GetType().Name}: {cause.Message}"),
        };
        notifier.Failed(errno, line);
        if (cause is DaemonStartException)
        {
            log.LogCritical("{Cause}", line);
        }
        else
        {
            log.LogCritical(cause, "{Cause}", line);
        }

        return 1;
    }
}
