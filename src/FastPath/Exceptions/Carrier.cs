using System.Runtime.InteropServices;
using FastPathSync.Bpf;
using FastPathSync.FastPath.Ports;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>
/// The TAP device fpn0 over which exceptions go to Linux, with bpf/fptun.bpf.c on its hooks. It has no addresses, no ARP
/// and no IPv6, is not persistent, and goes with the process.
/// </summary>
internal sealed unsafe class Carrier : IDisposable
{
    public const string Name = "fpn0";

    /// <summary>More than any UMEM frame and its trailer.</summary>
    private const int Mtu = 9000;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);
    private const uint OfInterfaces = (1u << (int)FptunCommand.IfaceInput) | (1u << (int)FptunCommand.IpsecDone);
    private const uint OfPorts = OfInterfaces | (1u << (int)FptunCommand.Basic) | (1u << (int)FptunCommand.Tap) | (1u << (int)FptunCommand.Output);
    private readonly BpfObject _program;

    /// <summary>What the program's map `targets` holds.</summary>
    private readonly Dictionary<uint, uint> _allowed = [];

    private Carrier(FileDescriptor tap, BpfObject program, uint ifindex, uint outputMagic)
    {
        Tap = tap;
        _program = program;
        IfIndex = ifindex;
        Output = new CarrierOutput(tap, outputMagic, i => _allowed.GetValueOrDefault(i) == OfPorts);
    }

    public FileDescriptor Tap { get; }

    public uint IfIndex { get; }

    /// <summary>The way back: frames that Linux asks the fast path to send.</summary>
    public CarrierOutput Output { get; }

    /// <summary>Adds what the tc program has counted, by FptunCommand and FptunRefusal, and what has become of OUTPUT, by FptunOutput.</summary>
    public void AddCounters(Span<ulong> sums)
    {
        BpfMap m = _program.Map("counters");
        for (int i = 0; i < sums.Length; i++)
        {
            sums[i] += m.Sum((uint)i);
        }

        Output.AddCounters(sums);
    }

    /// <summary>Lets trailers lead to a port, before the first packet of it can be punted.</summary>
    public void AllowPort(uint ifindex) => Allow(ifindex, OfPorts);

    /// <summary>Lets trailers lead to the interfaces of the VRF that there are now, and to no other.</summary>
    public void Follow(IReadOnlySet<uint> interfaces, IReadOnlySet<uint> ports)
    {
        foreach (uint i in interfaces.Where(i => i != IfIndex && !ports.Contains(i)))
        {
            Allow(i, OfInterfaces);
        }

        foreach (uint p in ports)
        {
            Allow(p, OfPorts);
        }

        foreach (uint gone in _allowed.Keys.Where(i => !interfaces.Contains(i) && !ports.Contains(i)).ToList())
        {
            _program.Map("targets").Delete(gone);
            _allowed.Remove(gone);
        }
    }

    /// <summary>In the namespace of the calling thread.</summary>
    /// <param name="where">What it is called.</param>
    public static Carrier Create(in FptunConstants constants, string where)
    {
        // The device of a fast path that has just died may take a moment to go.
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_patience.TotalNanoseconds;
        while (Libc.if_nametoindex(Name) != 0)
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new DaemonStartException(
                    Errno.EEXIST, $"interface {Name} already exists in {where}: another instance runs here (stop it with fpctl --instance NAME stop), or something else has made it (ip link delete {Name})");
            }

            Thread.Sleep(10);
        }

        FileDescriptor tap = FileDescriptor.FromCall(Libc.open("/dev/net/tun", Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0), "open", "/dev/net/tun");
        BpfObject? program = null;
        try
        {
            Libc.ifreq r = NetDevice.Request(Name);
            r.ifr_flags = Libc.IFF_TAP | Libc.IFF_NO_PI;
            LinuxException.ThrowIfNegative(Libc.ioctl(tap.Number, Libc.TUNSETIFF, &r), "create TAP device", Name);
            DisableIpv6();
            using NetDevice device = new();
            device.SetMtu(Name, Mtu);
            uint ifindex = Libc.if_nametoindex(Name);
            program = BpfObject.Open("fptun");
            program.SetConstants(".rodata.constants", constants);
            program.Load();
            program.Program("fptun").AttachTc(ifindex);
            device.SetFlags(Name, Libc.IFF_UP | Libc.IFF_NOARP);
            return new Carrier(tap, program, ifindex, constants.OutputMagic);
        }
        catch
        {
            program?.Dispose();
            tap.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Output.Dispose();
        Tap.Dispose();
        _program.Dispose();
    }

    private void Allow(uint ifindex, uint commands)
    {
        if (!_allowed.TryGetValue(ifindex, out uint have) || have != commands)
        {
            _program.Map("targets").Update(ifindex, commands);
            _allowed[ifindex] = commands;
        }
    }

    /// <summary>Before it is up, so that no router solicitation ever crosses it. A kernel without IPv6 has no such file.</summary>
    private static void DisableIpv6()
    {
        string path = $"/proc/sys/net/ipv6/conf/{Name}/disable_ipv6";
        if (File.Exists(path))
        {
            File.WriteAllText(path, "1");
        }
    }
}

/// <summary>
/// What only the fast path and its eBPF programs know, random at each start: struct fptun_constants in bpf/fptun_def.h. Nobody
/// outside can make a frame that is taken for one of ours.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct FptunConstants(ReinjectionCookie cookie, uint secret, uint tapMark, uint outputMagic)
{
    public readonly ReinjectionCookie Cookie = cookie;

    /// <summary>skb->mark of what our packet sockets send to the carrier.</summary>
    public readonly uint Secret = secret;

    /// <summary>skb->mark of copies for packet sockets.</summary>
    public readonly uint TapMark = tapMark;

    /// <summary>Stands for the magic in OUTPUT frames that the tc program let through.</summary>
    public readonly uint OutputMagic = outputMagic;

    private readonly uint _unused;

    public static FptunConstants Random()
    {
        Span<uint> words = stackalloc uint[3];
        System.Security.Cryptography.RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(words));
        return new FptunConstants(ReinjectionCookie.Random(), words[0] | 1, words[1] | 1, words[2]);
    }
}

/// <summary>Two random words that mark an injected packet where generic XDP sees it again; nobody outside can know them.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct ReinjectionCookie(ulong first, ulong second)
{
    public readonly ulong First = first;
    public readonly ulong Second = second;

    public static ReinjectionCookie Random()
    {
        Span<ulong> words = stackalloc ulong[2];
        System.Security.Cryptography.RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(words));
        return new ReinjectionCookie(words[0], words[1]);
    }
}
