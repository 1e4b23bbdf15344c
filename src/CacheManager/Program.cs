using FastPathSync.CacheManager;
using FastPathSync.Hosting;
using Microsoft.Extensions.DependencyInjection;

CacheManagerOptions options = new();
return DaemonHost.Run("cmgrd", "tells fpmd what the kernel says (netlink in, FPC out)", args, options.Declare, services =>
{
    services.AddSingleton(options);
    services.AddHostedService<CacheManagerService>();
});
