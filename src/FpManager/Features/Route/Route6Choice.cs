using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// Which of the routes of one prefix of one table Linux takes for a forwarded packet (rt6_select and find_rr_leaf in
/// net/ipv6/route.c, forwarding on): the one of the lowest metric, if it lives. If it doesn't, the kernel compares all that are
/// left by their preference and by the interface that the packet came in on: then, and where the lowest metric has several
/// routes that are no siblings, or routes depend on the source, the answer is Linux's.
/// </summary>
/// <remarks>Begin, Add each route, End.</remarks>
internal sealed class Route6Choice
{
    private readonly NexthopStore _nexthops;
    private readonly int _puntAmbiguous;
    private readonly int _puntSource;
    private bool _bySource;
    private bool _any;
    private Route6Record _lowest;
    private Route6Record _other;
    private int _othersAlive;

    public Route6Choice(NexthopStore nexthops)
    {
        _nexthops = nexthops;
        _puntAmbiguous = nexthops.Acquire(NexthopSpec.Punt(PuntReason.AmbiguousRoute));
        _puntSource = nexthops.Acquire(NexthopSpec.Punt(PuntReason.SourceRoute));
    }

    public void Begin()
    {
        _bySource = _any = false;
        _othersAlive = 0;
    }

    public void Add(in Route6Record r)
    {
        if (r.SourceLength != 0)
        {
            _bySource = true;
        }
        else if (!_any)
        {
            _any = true;
            _lowest = r;
        }
        else if (r.Metric < _lowest.Metric)
        {
            NoteOther(in _lowest);
            _lowest = r;
        }
        else
        {
            NoteOther(in r);
        }
    }

    /// <summary>A nexthop; None: the kernel looks on as if the prefix weren't there.</summary>
    public int End()
    {
        if (_bySource)
        {
            return _puntSource;
        }

        if (!_any)
        {
            return NexthopStore.None;
        }

        if (_lowest.IsAmbiguous)
        {
            return _puntAmbiguous;
        }

        return IsAlive(in _lowest) ? _lowest.Nexthop
            : _othersAlive == 0 ? NexthopStore.None
            : _othersAlive == 1 && !_other.IsAmbiguous ? _other.Nexthop
            : _puntAmbiguous;
    }

    private void NoteOther(in Route6Record r)
    {
        if (IsAlive(in r))
        {
            _othersAlive++;
            _other = r;
        }
    }

    private bool IsAlive(in Route6Record r) => !r.IsExpired && !_nexthops.IsDead(r.Nexthop);
}
