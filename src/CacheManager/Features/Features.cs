using FastPathSync.CacheManager.Features.Address;
using FastPathSync.CacheManager.Features.Capture;
using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.CacheManager.Features.Interface;
using FastPathSync.CacheManager.Features.Neighbour;
using FastPathSync.CacheManager.Features.Nexthop;
using FastPathSync.CacheManager.Features.Route;
using FastPathSync.CacheManager.Features.Rule;
using FastPathSync.CacheManager.Features.Settings;
using FastPathSync.CacheManager.Sync;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Features;

/// <summary>Everything that is mirrored: one line per kind of kernel object, in the order of dependence.</summary>
public sealed class FeatureSet : IDisposable
{
    private readonly DemotionMonitor? _monitor;
    private bool _watching;

    /// <param name="logs">For the detectors.</param>
    /// <param name="wake">Called when a feature has changes that no netlink event of the engine's brought.</param>
    /// <param name="forwards">The VRF has ports: what isn't honoured there has to be detected.</param>
    public FeatureSet(ILoggerFactory logs, Action wake, bool forwards)
    {
        Cascade = new Cascade();
        Demotions = new DemotionFeature(wake);
        Settings = new SettingsFeature(wake);
        CaptureFeature captures = new(wake);
        Interfaces = new InterfaceFeature(Cascade);
        AddressFeature addresses = new(Cascade);
        Nexthops = new NexthopFeature(Cascade);
        Routes6 = new Route6Feature(Cascade, Interfaces);
        Routes = new RouteFeature(Cascade, Interfaces, Routes6);
        NeighbourFeature neighbours = new();
        Rules = new RuleFeature(Cascade);
        InDependence = [Demotions, Settings, captures, Interfaces, addresses, Nexthops, Routes, Routes6, Rules, neighbours];

        if (forwards)
        {
            _monitor = new DemotionMonitor(logs.CreateLogger<DemotionMonitor>(), Settings, captures);
            Interfaces.InfosChanged = _monitor.InterfacesChanged;
        }

        Interfaces.Gone = index =>
        {
            addresses.InterfaceGone(index);
            neighbours.InterfaceGone(index);
        };
    }

    /// <summary>Upserts go in this order, deletions in the opposite one; demotions come first in both.</summary>
    public IReadOnlyList<IFeature> InDependence { get; }

    public Cascade Cascade { get; }

    public DemotionFeature Demotions { get; }

    public SettingsFeature Settings { get; }

    public InterfaceFeature Interfaces { get; }

    public NexthopFeature Nexthops { get; }

    public RouteFeature Routes { get; }

    public RuleFeature Rules { get; }

    public Route6Feature Routes6 { get; }

    public bool HasChanges => InDependence.Any(f => f.HasChanges);

    /// <summary>The detectors' first look: what they find is part of the first synchronization.</summary>
    public void StartDetectors(VrfNamespace vrf)
    {
        Interfaces.RefreshInfos();
        if (!_watching && _monitor is not null)
        {
            _watching = true;
            vrf.Inside(() =>
            {
                _monitor.Start(Demotions, () => Interfaces.Infos);
                return true;
            });
        }
    }

    public void Settle()
    {
        foreach (IFeature f in InDependence)
        {
            f.Settle();
        }
    }

    public void Dispose()
    {
        _monitor?.Dispose();
        Routes.Dispose();
        Routes6.Dispose();
    }
}
