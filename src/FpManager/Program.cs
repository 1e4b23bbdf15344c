using FastPathSync.FpManager;
using FastPathSync.Hosting;
using Microsoft.Extensions.DependencyInjection;

FpManagerOptions options = new();
return DaemonHost.Run("fpmd", "writes what the cache manager says into the fast path's shared memory", args, options.Declare, services =>
{
    services.AddSingleton(options);
    services.AddHostedService<FpManagerService>();
});
