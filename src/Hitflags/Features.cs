using FastPathSync.Hitflags.Features.Neighbour;
using Microsoft.Extensions.DependencyInjection;

namespace FastPathSync.Hitflags;

/// <summary>What is kept alive: one line for each kind of kernel entry.</summary>
internal static class HitflagsFeatures
{
    public static void AddHitflagsFeatures(this IServiceCollection services)
    {
        services.AddHostedService<NeighbourKeeper>();
    }
}
