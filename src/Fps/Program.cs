using FastPathSync.Fps;
using FastPathSync.Hosting;
using Microsoft.Extensions.DependencyInjection;

FpsOptions options = new();
return DaemonHost.Run(
    "fpsd",
    "samples the fast path's statistics into a time series.",
    args,
    table => table.Seconds("--interval", "between two samples (default 1)", 0.1, 60, v => options.Interval = v),
    services =>
    {
        services.AddSingleton(options);
        services.AddFpsFeatures();
    });
