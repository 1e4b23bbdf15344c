using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Interface;

/// <summary>Interfaces: RTM_NEWLINK joined with RTM_NEWNETCONF of both families.</summary>
public sealed class InterfaceFeature(Cascade cascade) : CachedFeature<uint, Wire.Interface>
{
    private readonly Wire.InterfaceBatch _batch = new();
    private Dictionary<int, LinkMessage> _links = [];
    private Dictionary<(byte Family, int Index), Settings> _settings = [];
    private volatile InterfaceInfo[] _infos = [];
    private bool _changed;

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Interface;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_LINK, Rtm.RTNLGRP_IPV4_NETCONF, Rtm.RTNLGRP_IPV6_NETCONF];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWLINK, Rtm.RTM_DELLINK, Rtm.RTM_NEWNETCONF, Rtm.RTM_DELNETCONF];

    /// <summary>As last settled; any thread may read it.</summary>
    public IReadOnlyCollection<InterfaceInfo> Infos => _infos;

    /// <summary>Called when an interface has gone, for the features whose objects go with it.</summary>
    public Action<int>? Gone { get; set; }

    /// <summary>Called after Infos has changed.</summary>
    public Action? InfosChanged { get; set; }

    protected override FpcType BatchType => FpcType.Interface;

    public bool IsUp(int index) => _links.TryGetValue(index, out LinkMessage? l) && l.IsUp;

    public bool IgnoresRoutesWithLinkDown(int index) => Cache.TryGetValue((uint)index, out Wire.Interface? i) && i.IgnoreRoutesWithLinkdown;

    public bool IgnoresRoutesWithLinkDown6(int index) => Cache.TryGetValue((uint)index, out Wire.Interface? i) && i.IgnoreRoutesWithLinkdown6;

    /// <summary>Asks for what the kernel announces too early or never: net.ipv6.conf.IF.mtu and disable_ipv6.</summary>
    public void PollIpv6(NetlinkSocket socket) => NetlinkDump.Run(socket, LinkMessage.Dump, () => { }, Urgent, (scoped in NetlinkMessage m) =>
    {
        if (LinkMessage.TryParse(in m, out LinkMessage? now) && _links.TryGetValue(now.Index, out LinkMessage? known)
            && (now.Mtu6 != known.Mtu6 || now.Ipv6Disabled != known.Ipv6Disabled))
        {
            if (now.HasIpv6 != known.HasIpv6)
            {
                cascade.Doubt6(); // multipath members through it die and come back to life, silently (rt6_sync_up)
            }

            known.TakeIpv6(now);
            Put((uint)known.Index, Join(known));
            _changed = true;
        }
    });

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (message.Type is Rtm.RTM_NEWNETCONF or Rtm.RTM_DELNETCONF)
        {
            return ApplySettings(in message);
        }

        if (!LinkMessage.TryParse(in message, out LinkMessage? link))
        {
            return EventOutcome.Malformed;
        }

        if (link.Family != Rtm.AF_UNSPEC)
        {
            return EventOutcome.Ignored; // a bridge speaking of its port: RTM_DELLINK then only means "released"
        }

        _links.TryGetValue(link.Index, out LinkMessage? before);
        if (message.Type == Rtm.RTM_DELLINK)
        {
            _links.Remove(link.Index);
            _settings.Remove((Rtm.AF_INET, link.Index));
            _settings.Remove((Rtm.AF_INET6, link.Index));
            Remove((uint)link.Index);
            cascade.Down.Add(link.Index);
            cascade.Gone.Add(link.Index);
            Gone?.Invoke(link.Index);
        }
        else
        {
            _links[link.Index] = link;
            cascade.DoubtsIpv6OfLinks |= before is not null && before.Mtu != link.Mtu;
            Put((uint)link.Index, Join(link));
            NoteTransition(before, link);
        }

        _changed = true;
        return EventOutcome.Applied;
    }

    public override void Complete(NetlinkSocket socket)
    {
        if (cascade.DoubtsIpv6OfLinks)
        {
            cascade.DoubtsIpv6OfLinks = false;
            PollIpv6(socket); // answered once whoever makes the change has let go of the RTNL
        }
    }

    public override int Refresh(NetlinkSocket socket)
    {
        _changed = true;
        return base.Refresh(socket);
    }

    public override void Settle()
    {
        base.Settle();
        if (_changed)
        {
            _changed = false;
            RefreshInfos();
            InfosChanged?.Invoke();
        }
    }

    /// <summary>Before anything is settled: what a first dump brought, for the detectors' first look.</summary>
    public void RefreshInfos() => _infos =
        [.. Cache.Values.Select(i => new InterfaceInfo(i.Ifindex, i.Name, i.Kind, i.Flags, i.Master, i.Forwarding, i.RpFilter, i.Link, i.ProxyNdp))];

    protected override void Dump(NetlinkSocket socket, Dictionary<uint, Wire.Interface> fresh)
    {
        Dictionary<int, LinkMessage> links = [];
        Dictionary<(byte, int), Settings> settings = [];
        NetlinkDump.Run(socket, LinkMessage.Dump, links.Clear, Urgent, (scoped in NetlinkMessage m) =>
        {
            LinkMessage link = LinkMessage.TryParse(in m, out LinkMessage? l) ? l : throw NetlinkDump.Malformed(in m);
            links[link.Index] = link;
        });
        NetlinkDump.BothFamilies(socket, NetConfMessage.Dump, settings, Urgent, (scoped in NetlinkMessage m, Dictionary<(byte, int), Settings> found) =>
        {
            NetConfMessage conf = NetConfMessage.TryParse(in m, out NetConfMessage? c) ? c : throw NetlinkDump.Malformed(in m);
            found[(conf.Family, conf.Index)] = default(Settings).With(conf);
        });
        _links = links;
        _settings = settings;
        foreach (LinkMessage link in links.Values)
        {
            fresh[(uint)link.Index] = Join(link);
        }
    }

    protected override void AppendUpsert(uint key, in Wire.Interface value) => _batch.Updates.Add(new Wire.InterfaceBatch.Types.Update { Upsert = value });

    protected override void AppendDelete(uint key) =>
        _batch.Updates.Add(new Wire.InterfaceBatch.Types.Update { Delete = new Wire.InterfaceKey { Ifindex = key } });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch() => _batch.Updates.Clear();

    private EventOutcome ApplySettings(scoped in NetlinkMessage message)
    {
        if (!NetConfMessage.TryParse(in message, out NetConfMessage? conf))
        {
            return EventOutcome.Malformed;
        }

        if (conf.Family is not (Rtm.AF_INET or Rtm.AF_INET6) || conf.Index == NetConfConstants.NETCONFA_IFINDEX_DEFAULT)
        {
            return EventOutcome.Ignored;
        }

        cascade.DoubtsIpv6OfLinks |= conf.Family == Rtm.AF_INET6;
        (byte, int) key = (conf.Family, conf.Index);
        if (message.Type == Rtm.RTM_DELNETCONF)
        {
            _settings.Remove(key);
        }
        else
        {
            _settings[key] = _settings.GetValueOrDefault(key).With(conf);
        }

        // RTNH_F_DEAD of routes with link down follows it, silently.
        if (conf.IgnoreRoutesWithLinkDown is not null && conf.Family == Rtm.AF_INET)
        {
            cascade.Doubt();
        }
        else if (conf.IgnoreRoutesWithLinkDown is not null)
        {
            cascade.Doubt6();
        }

        foreach (LinkMessage link in conf.Index == NetConfConstants.NETCONFA_IFINDEX_ALL ? _links.Values : _links.Values.Where(l => l.Index == conf.Index))
        {
            Put((uint)link.Index, Join(link));
        }

        _changed = true;
        return EventOutcome.Applied;
    }

    private void NoteTransition(LinkMessage? before, LinkMessage now)
    {
        if (before is null)
        {
            cascade.Apply(); // the index may have been another's a moment ago
            return;
        }

        if (before.IsUp && !now.IsUp)
        {
            cascade.Down.Add(now.Index);
        }
        else if (IsRunning(before) && !IsRunning(now))
        {
            cascade.LinkDown.Add(now.Index);
        }
        else if (before.IsUp != now.IsUp || IsRunning(before) != IsRunning(now))
        {
            cascade.Apply();
            cascade.Doubt6();
            cascade.Doubt(); // members of multipath routes come back to life, silently
        }
    }

    /// <summary>What fib_netdev_event and nh_netdev_event ask of a link on NETDEV_CHANGE.</summary>
    private static bool IsRunning(LinkMessage link) => (link.Flags & (LinkConstants.IFF_RUNNING | LinkConstants.IFF_LOWER_UP)) != 0;

    private Wire.Interface Join(LinkMessage link)
    {
        Settings own = _settings.GetValueOrDefault((Rtm.AF_INET, link.Index));
        Settings all = _settings.GetValueOrDefault((Rtm.AF_INET, NetConfConstants.NETCONFA_IFINDEX_ALL));
        Settings own6 = _settings.GetValueOrDefault((Rtm.AF_INET6, link.Index));
        Settings all6 = _settings.GetValueOrDefault((Rtm.AF_INET6, NetConfConstants.NETCONFA_IFINDEX_ALL));
        return new Wire.Interface
        {
            Ifindex = (uint)link.Index,
            Name = link.Name,
            Kind = link.Kind,
            Address = ByteString.CopyFrom(link.Address),
            Mtu = link.Mtu,
            Flags = link.Flags,
            OperState = link.OperState,
            Master = (uint)link.Master,
            Link = (uint)link.Link,
            Type = link.Type,
            Forwarding = own.Forwarding, // IN_DEV_FORWARD asks the interface alone; "all" is copied into each
            RpFilter = Math.Max(own.RpFilter, all.RpFilter), // IN_DEV_MAXCONF
            IgnoreRoutesWithLinkdown = own.IgnoreRoutesWithLinkDown || all.IgnoreRoutesWithLinkDown, // IN_DEV_ORCONF
            ProxyArp = own.ProxyNeighbour || all.ProxyNeighbour, // IN_DEV_ORCONF
            Forwarding6 = all6.Forwarding, // ip6_forward asks for nothing else, force_forwarding aside (see ipv6.md)
            IgnoreRoutesWithLinkdown6 = own6.IgnoreRoutesWithLinkDown, // ip6_ignore_linkdown; "all" is copied into each
            ProxyNdp = own6.ProxyNeighbour || all6.ProxyNeighbour,
            Mtu6 = link.Mtu6,
            Ipv6Disabled = link.Ipv6Disabled,
        };
    }

    private readonly record struct Settings(bool Forwarding, uint RpFilter, bool IgnoreRoutesWithLinkDown, bool ProxyNeighbour)
    {
        /// <summary>Changed by what a message carries; events carry only what changed.</summary>
        public Settings With(NetConfMessage m) => new(
            m.Forwarding ?? Forwarding,
            m.RpFilter ?? RpFilter,
            m.IgnoreRoutesWithLinkDown ?? IgnoreRoutesWithLinkDown,
            m.ProxyNeighbour ?? ProxyNeighbour);
    }
}
