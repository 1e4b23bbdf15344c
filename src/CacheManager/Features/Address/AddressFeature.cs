using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Address;

/// <summary>What makes an address of an interface itself.</summary>
public readonly record struct AddressKey(int Index, InetAddress Local, InetAddress Peer, byte PrefixLength);

/// <summary>IPv4 and IPv6 addresses of interfaces.</summary>
public sealed class AddressFeature(Cascade cascade) : CachedFeature<AddressKey, Wire.Address>
{
    private readonly Wire.AddressBatch _batch = new();

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Address;

    public override bool ChangesSilently => true;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_IPV4_IFADDR, Rtm.RTNLGRP_IPV6_IFADDR];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWADDR, Rtm.RTM_DELADDR];

    protected override FpcType BatchType => FpcType.Address;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!AddressMessage.TryParse(in message, out AddressMessage? m))
        {
            return EventOutcome.Malformed;
        }

        if (m.Family is not (Rtm.AF_INET or Rtm.AF_INET6))
        {
            return EventOutcome.Ignored;
        }

        cascade.DoubtsIpv6OfLinks |= m.Family == Rtm.AF_INET6; // disable_ipv6 takes the addresses
        AddressKey key = KeyOf(m);
        if (message.Type == Rtm.RTM_NEWADDR)
        {
            cascade.Apply();
            if (m.Family == Rtm.AF_INET)
            {
                cascade.Doubt(); // an address on an interface revives multipath members through it (fib_inetaddr_event)
            }

            Put(key, ToWire(m));
            return EventOutcome.Applied;
        }

        Remove(key);
        NoteConsequences(key);
        return EventOutcome.Applied;
    }

    /// <summary>Its addresses go with an interface; the kernel says so too, this is for when we missed it.</summary>
    public void InterfaceGone(int index)
    {
        foreach (AddressKey key in Cache.Keys)
        {
            if (key.Index == index)
            {
                Remove(key);
            }
        }
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<AddressKey, Wire.Address> fresh) =>
        NetlinkDump.BothFamilies(socket, AddressMessage.Dump, fresh, Urgent, (scoped in NetlinkMessage m, Dictionary<AddressKey, Wire.Address> found) =>
        {
            AddressMessage a = AddressMessage.TryParse(in m, out AddressMessage? parsed) ? parsed : throw NetlinkDump.Malformed(in m);
            found[KeyOf(a)] = ToWire(a);
        });

    protected override void AppendUpsert(AddressKey key, in Wire.Address value) =>
        _batch.Updates.Add(new Wire.AddressBatch.Types.Update { Upsert = value });

    protected override void AppendDelete(AddressKey key) => _batch.Updates.Add(new Wire.AddressBatch.Types.Update
    {
        Delete = new Wire.Address
        {
            Ifindex = (uint)key.Index,
            Local = ByteString.CopyFrom(key.Local.ToArray()),
            Address_ = ByteString.CopyFrom(key.Peer.ToArray()),
            PrefixLength = key.PrefixLength,
        },
    });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch() => _batch.Updates.Clear();

    /// <summary>What goes silently with a deleted address: routes that prefer it as source, and IPv4 routes of an interface without any.</summary>
    private void NoteConsequences(AddressKey key)
    {
        bool elsewhere = false, interfaceHasOthers = false;
        foreach (AddressKey other in Cache.Keys)
        {
            elsewhere |= other.Local == key.Local;
            interfaceHasOthers |= other.Index == key.Index && other.Local.Length == key.Local.Length;
        }

        if (key.Local.Length != 4)
        {
            if (!elsewhere)
            {
                cascade.DeadAddresses6.Add(key.Local);
            }

            return;
        }

        if (!elsewhere)
        {
            cascade.DeadAddresses.Add(key.Local.V4);
        }

        if (!interfaceHasOthers)
        {
            cascade.Down.Add(key.Index);
            cascade.Unaddressed.Add(key.Index);
        }
    }

    private static AddressKey KeyOf(AddressMessage m) => new(m.Index, m.Local, m.Address, m.PrefixLength);

    private static Wire.Address ToWire(AddressMessage m) => new()
    {
        Ifindex = (uint)m.Index,
        Local = ByteString.CopyFrom(m.Local.ToArray()),
        Address_ = ByteString.CopyFrom(m.Address.ToArray()),
        PrefixLength = m.PrefixLength,
        Broadcast = ByteString.CopyFrom(m.Broadcast.ToArray()),
        Scope = m.Scope,
        Flags = m.Flags,
        Label = m.Label,
    };
}
