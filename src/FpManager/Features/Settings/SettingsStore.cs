using System.Security.Cryptography;
using FastPathSync.FpManager.Features.Address;
using FastPathSync.FpManager.Features.Interface;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Settings;

/// <summary>
/// Settings that workers read in VrfState: how flows are told apart, and per port the source validation and whether
/// redirects may be due. Until cmgrd has told, redirects may be: such packets are Linux's.
/// </summary>
public sealed unsafe class SettingsStore
{
    private const byte Strict = 1;
    private readonly VrfState* _vrf;
    private readonly InterfaceStore _interfaces;
    private readonly AddressStore _addresses;
    private readonly HashSet<uint> _withoutRedirects = [];

    public SettingsStore(VrfState* vrf, InterfaceStore interfaces, AddressStore addresses)
    {
        _vrf = vrf;
        _interfaces = interfaces;
        _addresses = addresses;
        if (_vrf->FlowSeed == 0)
        {
            _vrf->FlowSeed = RandomSeed();
        }
    }

    public void Apply(Wire.Settings s)
    {
        Volatile.Write(ref _vrf->MultipathFields4, s.MultipathHashFields4);
        Volatile.Write(ref _vrf->MultipathPolicy4, s.MultipathHashPolicy4);
        Volatile.Write(ref _vrf->MultipathFields6, s.MultipathHashFields6);
        Volatile.Write(ref _vrf->MultipathPolicy6, s.MultipathHashPolicy6);
        if (s.MultipathHashSeed != _vrf->MultipathSeed)
        {
            _vrf->MultipathSeed = s.MultipathHashSeed;
            Volatile.Write(ref _vrf->FlowSeed, s.MultipathHashSeed != 0 ? s.MultipathHashSeed : RandomSeed());
        }

        _withoutRedirects.Clear();
        _withoutRedirects.UnionWith(s.WithoutRedirects);
        PublishPorts();
    }

    /// <summary>Interfaces, addresses or settings may have changed.</summary>
    public void PublishPorts()
    {
        for (int p = 0; p < _interfaces.PortNames.Count; p++)
        {
            uint ifindex = _interfaces.PortIfIndex(p);
            byte filter = ifindex != 0 && _interfaces.TryGet(ifindex, out InterfaceRecord i) ? i.RpFilter : (byte)0;

            // Where there is no address Linux refuses what strict refuses (__fib_validate_source, no_addr).
            if (filter > Strict && !_addresses.HasIpv4(ifindex))
            {
                filter = Strict;
            }

            // IPv6 knows no such setting: ip6_forward always may.
            Families redirects = _withoutRedirects.Contains(ifindex) ? Families.Ipv6 : Families.Both;
            Volatile.Write(ref _vrf->RpFilter[p], filter);
            Volatile.Write(ref _vrf->SendRedirects[p], (byte)redirects);
        }
    }

    private static uint RandomSeed() => (uint)RandomNumberGenerator.GetInt32(1, int.MaxValue);
}
