using FastPathSync.FastPath;
using FastPathSync.Hosting;
using Microsoft.Extensions.DependencyInjection;

FastPathOptions options = new();
return DaemonHost.Run(
    "fastpath",
    "forwards packets between ports through AF_XDP, as the tables in shared memory say",
    args,
    table => options.Declare(table),
    services => services.AddSingleton(options).AddHostedService<FastPathService>());
