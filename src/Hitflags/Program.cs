using FastPathSync.Hitflags;
using FastPathSync.Hosting;
using Microsoft.Extensions.DependencyInjection;

HitflagsOptions options = new();
return DaemonHost.Run(
    "hitflagsd",
    "tells the kernel which of its entries the fast path uses, so that they stay alive.",
    args,
    table => table.Seconds("--interval", "between two scans (default 2)", 0.1, 60, v => options.Interval = v),
    services =>
    {
        services.AddSingleton(options);
        services.AddHitflagsFeatures();
    });
