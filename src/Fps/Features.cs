using FastPathSync.Fps.Features.Statistics;
using Microsoft.Extensions.DependencyInjection;

namespace FastPathSync.Fps;

/// <summary>What is sampled, and later pushed into the kernel: one line for each.</summary>
internal static class FpsFeatures
{
    public static void AddFpsFeatures(this IServiceCollection services)
    {
        services.AddHostedService<CounterSampler>();
    }
}
