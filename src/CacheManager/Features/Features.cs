using FastPathSync.CacheManager.Features.Address;
using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.CacheManager.Features.Interface;
using FastPathSync.CacheManager.Features.Neighbour;
using FastPathSync.CacheManager.Features.Nexthop;
using FastPathSync.CacheManager.Features.Route;
using FastPathSync.CacheManager.Features.Settings;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Features;

/// <summary>Everything that is mirrored: one line per kind of kernel object, in the order of dependence.</summary>
public sealed class FeatureSet : IDisposable
{
    private readonly DemotionMonitor _monitor;
    private bool _watching;

    /// <param name="logs">For the detectors.</param>
    /// <param name="wake">Called when a feature has changes that no netlink event of the engine's brought.</param>
    public FeatureSet(ILoggerFactory logs, Action wake)
    {
        Cascade = new Cascade();
        Demotions = new DemotionFeature(wake);
        Settings = new SettingsFeature(wake);
        Interfaces = new InterfaceFeature(Cascade);
        AddressFeature addresses = new(Cascade);
        Nexthops = new NexthopFeature(Cascade);
        Routes = new RouteFeature(Cascade, Interfaces);
        NeighbourFeature neighbours = new();
        InDependence = [Demotions, Settings, Interfaces, addresses, Nexthops, Routes, neighbours];

        _monitor = new DemotionMonitor(logs.CreateLogger<DemotionMonitor>(), Settings);
        Interfaces.InfosChanged = _monitor.InterfacesChanged;
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

    public bool HasChanges => InDependence.Any(f => f.HasChanges);

    /// <summary>The detectors' first look: what they find is part of the first synchronization.</summary>
    public void StartDetectors()
    {
        Interfaces.RefreshInfos();
        if (!_watching)
        {
            _watching = true;
            _monitor.Start(Demotions, () => Interfaces.Infos);
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
        if (_watching)
        {
            _monitor.Dispose();
        }
    }
}
