using FastPathSync.Bpf;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Vrfs;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Ports;

/// <summary>One interface that the fast path serves: its XDP program, its sockets, and what it counts. Used by the control thread.</summary>
internal sealed unsafe class Port : IDisposable
{
    public const int EthernetHeader = 14;
    private const ushort ARPHRD_ETHER = 1;
    private static readonly string[] s_virtualDrivers = ["veth", "tun", "bridge", "macvlan", "ifb", "dummy"];
    private static readonly TimeSpan s_detachPatience = TimeSpan.FromSeconds(1);

    private readonly PortTrailers _trailers;
    private readonly ReinjectionCookie _cookie;
    private readonly ulong[] _passedBefore = new ulong[(int)PassReason.Count];
    private ulong _rxRingFullBefore;
    private ulong _noFrameBefore;
    private BpfObject? _program;
    private FileDescriptor? _link;
    private ulong* _config;

    public Port(int id, PortName name, int workers, PortTrailers trailers, in ReinjectionCookie cookie)
    {
        Id = id;
        Configured = name;
        Workers = new QueueMap(workers);
        _trailers = trailers;
        _cookie = cookie;
    }

    public int Id { get; }

    /// <summary>As the options name it.</summary>
    public PortName Configured { get; }

    /// <summary>Of the interface.</summary>
    public string Name => Configured.Interface;

    /// <summary>The VRF that it is in; null while that is not there, and the port is Gone.</summary>
    public ServedVrf? Vrf { get; set; }

    public uint IfIndex { get; private set; }

    public int Mtu { get; private set; }

    /// <summary>Receive queues: each has a socket.</summary>
    public int Queues => Workers.Queues;

    /// <summary>By receive queue.</summary>
    public QueueMap Workers { get; }

    public int TransmitQueues { get; private set; }

    public bool IsVirtual { get; private set; }

    public PortMode Mode { get; private set; }

    public bool Gone { get; private set; }

    public List<XskBinding> Bindings { get; } = [];

    /// <summary>Reads what the interface is.</summary>
    /// <exception cref="DaemonStartException">It is missing, or not one that can be served.</exception>
    public void Look(NetDevice device)
    {
        IfIndex = device.IndexOf(Name);
        if (IfIndex == 0 || !device.TryGetMtu(Name, out int mtu) || !device.TryGetAddress(Name, out _, out ushort type))
        {
            throw new DaemonStartException(
                Errno.ENODEV, Configured.Vrf.Length == 0
                    ? $"port {Name}: no such interface in this namespace; see 'ip link' for those there are, or name the VRF (network namespace) that has it: --port VRF/{Name}"
                    : $"port {Configured}: no such interface in VRF {Configured.Vrf}; see 'ip -n {Configured.Vrf} link' for those there are");
        }

        if (type != ARPHRD_ETHER)
        {
            throw new DaemonStartException(Errno.EINVAL, $"port {Configured}: not an Ethernet interface (ARPHRD type {type}); only Ethernet ones can be ports");
        }

        Mtu = mtu;
        (int receive, int transmit) = device.Queues(Name);
        TakeQueues(receive, transmit);
        IsVirtual = s_virtualDrivers.Contains(device.Driver(Name));
    }

    /// <summary>A fast path before us served the port of this name: it may be missing now without that being an error.</summary>
    public bool WasServed(PortState* state) => state->Name.ToString() == Name && state->Vrf.ToString() == Configured.Vrf;

    /// <summary>Takes over what the port of this name had before a restart: its counters, and what was chosen for it.</summary>
    public void Resume(PortState* state)
    {
        if (!WasServed(state))
        {
            *state = new PortState { Name = Name16.From(Name), Vrf = Text256.From(Configured.Vrf) };
        }

        for (int i = 0; i < _passedBefore.Length; i++)
        {
            _passedBefore[i] = state->Passed[i];
        }

        _rxRingFullBefore = state->RxRingFull;
        _noFrameBefore = state->NoFrame;
        Workers.Choose(new Span<byte>(state->Worker, PortState.MostQueues).ToArray().TakeWhile(w => w != 0).Select(w => w - 1));
        TakeQueues(Queues, TransmitQueues);
    }

    /// <summary>
    /// Loads the program, fills its socket map, and attaches it: from then on packets come to the workers.
    /// Returns why native mode was not possible when generic was taken instead.
    /// </summary>
    public string? Attach(RequestedMode requested, NetDevice device, Admission admission)
    {
        if (requested != RequestedMode.Generic)
        {
            int errno = TryAttach(PortMode.Native, device, admission);
            if (errno == 0)
            {
                return null;
            }

            if (requested == RequestedMode.Native || errno is Errno.EBUSY or Errno.EEXIST or Errno.EPERM)
            {
                throw Failure(PortMode.Native, errno);
            }

            int second = TryAttach(PortMode.Generic, device, admission);
            return second == 0 ? Failure(PortMode.Native, errno).Message : throw Failure(PortMode.Generic, second);
        }

        int e = TryAttach(PortMode.Generic, device, admission);
        return e == 0 ? null : throw Failure(PortMode.Generic, e);
    }

    /// <summary>Sets what the program compares each packet with.</summary>
    public void Configure(NetDevice device, Admission admission)
    {
        if (_config != null && device.TryGetAddress(Name, out ulong mac, out _))
        {
            ulong word = XdpLayout.Config(mac, admission);
            if (*_config != word)
            {
                Volatile.Write(ref *_config, word);
            }
        }
    }

    /// <summary>False when the interface of this name is not the one we serve any more.</summary>
    public bool Refresh(NetDevice device)
    {
        if (device.IndexOf(Name) != IfIndex)
        {
            return false;
        }

        if (device.TryGetMtu(Name, out int mtu))
        {
            Mtu = mtu;
        }

        return true;
    }

    /// <summary>What the interface has from now on.</summary>
    public void TakeQueues(int receive, int transmit)
    {
        TransmitQueues = transmit;
        Workers.Take(receive, transmit);
    }

    /// <summary>Outlives a restart.</summary>
    public void Choose(IReadOnlyList<int> workers, PortState* state)
    {
        Workers.Choose(workers);
        Workers.Take(Queues, TransmitQueues);
        for (int q = 0; q < PortState.MostQueues; q++)
        {
            state->Worker[q] = (byte)(q < workers.Count ? workers[q] + 1 : 0);
        }
    }

    /// <summary>What its program compares each packet with; 0: there is none.</summary>
    public ulong Configuration => _config == null ? 0 : Volatile.Read(ref *_config);

    /// <summary>A socket made while the port runs: its queue's packets come to its worker from here on.</summary>
    public void Serve(XskBinding added)
    {
        added.Socket->PartialChecksums = IsVirtual || Mode == PortMode.Generic; // nothing can be received yet
        _program!.Map("xsks").Update((uint)added.Queue, added.Fd);
    }

    public void Publish(PortState* state, NetDevice? device, uint maxMtu)
    {
        state->Name = Name16.From(Name);
        state->Vrf = Text256.From(Configured.Vrf);
        state->IfIndex = IfIndex;
        state->Queues = (uint)Queues;
        state->Mtu = (uint)Mtu;
        state->MaxMtu = maxMtu;
        state->Mode = Mode;
        state->ZeroCopy = 0;
        state->Status = Gone || device is null ? PortStatus.Gone
            : device.TryGetFlags(Name, out short flags) && (flags & (Libc.IFF_UP | Libc.IFF_RUNNING)) == (Libc.IFF_UP | Libc.IFF_RUNNING) ? PortStatus.Up
            : PortStatus.Down;
        ulong ringFull = _rxRingFullBefore, noFrame = _noFrameBefore;
        foreach (XskBinding b in Bindings)
        {
            Libc.xdp_statistics s = b.Statistics();
            ringFull += s.rx_ring_full;
            noFrame += s.rx_fill_ring_empty_descs;
        }

        state->RxRingFull = ringFull;
        state->NoFrame = noFrame;
        for (int i = 0; i < _passedBefore.Length; i++)
        {
            state->Passed[i] = _passedBefore[i] + (_program is null ? 0 : _program.Map("passed").Sum((uint)i));
        }
    }

    /// <summary>Linux has everything from here on; what is already in the rings still comes to the workers.</summary>
    public void Detach()
    {
        _link?.Dispose();
        _link = null;
    }

    /// <summary>The interface has vanished: keeps what was counted, gives up program and link. The sockets are closed by CloseSockets.</summary>
    public void Vanish(PortState* state)
    {
        Detach();
        Resume(state);
        Unload();
        Gone = true;
        foreach (XskBinding b in Bindings)
        {
            b.Gone = true;
        }
    }

    /// <summary>After every worker has let go of them.</summary>
    public void CloseSockets()
    {
        Bindings.ForEach(b => b.Dispose());
        Bindings.Clear();
    }

    public void Return() => Gone = false;

    /// <summary>It is not there now; its counters stay as they were.</summary>
    public void BeginGone() => Gone = true;

    public void Dispose()
    {
        Detach();
        Unload();
    }

    private void Unload()
    {
        _config = null;
        _program?.Dispose();
        _program = null;
    }

    private int TryAttach(PortMode mode, NetDevice device, Admission admission)
    {
        Unload();
        BpfObject program = BpfObject.Open("xdp_redirect");
        _program = program;
        program.SetConstants(".rodata.constants", new XdpConstants { Generic = mode == PortMode.Generic ? 1u : 0u, Cookie = _cookie });
        Vrf!.Xdp.ShareWith(program);
        program.Load();
        Mode = mode;
        Bindings.ForEach(Serve);
        _config = (ulong*)program.MapMemory(".data.config");
        Configure(device, admission);
        _trailers.Set(Id, IfIndex, mode == PortMode.Generic);
        Vrf.Carrier.AllowPort(IfIndex);

        // A fast path that has just been killed may take a moment to be detached.
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_detachPatience.TotalNanoseconds;
        while (true)
        {
            try
            {
                _link = Vrf.Inside(() => program.Program("xdp_redirect").AttachXdp(IfIndex, mode == PortMode.Native ? XdpAttachMode.Native : XdpAttachMode.Generic));
                return 0;
            }
            catch (BpfException e) when (e.ErrorNumber is Errno.EBUSY or Errno.EEXIST && MonotonicClock.Nanoseconds < deadline)
            {
                Thread.Sleep(10);
            }
            catch (BpfException e)
            {
                return e.ErrorNumber;
            }
        }
    }

    private DaemonStartException Failure(PortMode mode, int errno)
    {
        string name = mode == PortMode.Native ? "native" : "generic";
        return new DaemonStartException(errno, errno switch
        {
            Errno.EBUSY or Errno.EEXIST =>
                $"port {Configured}: another XDP program (id {Vrf!.Inside(() => BpfProgram.AttachedXdp(IfIndex))}) is attached; stop what attached it, or remove it with 'ip link set dev {Name} xdp off'",
            Errno.ENOSPC =>
                $"port {Configured}: the veth peer has more TX queues than {Name} has RX queues ({Queues}), which {name} XDP refuses; lower the peer's ('ethtool -L PEER tx {Queues}'), raise ours ('ethtool -L {Name} rx N'; they are fixed at creation by numrxqueues), or use --mode generic",
            Errno.ERANGE or Errno.EINVAL =>
                $"port {Configured}: its MTU {Mtu} is more than {name} XDP takes here ({Errno.Describe(errno)}); lower it and its peer's ('ip link set dev {Name} mtu 1500'), or use --mode generic",
            Errno.EOPNOTSUPP => $"port {Configured}: its driver has no {name} XDP, or an offload forbids it; use --mode generic",
            Errno.EPERM => $"port {Configured}: not allowed to attach XDP; give the daemon CAP_NET_ADMIN and CAP_BPF",
            _ => $"port {Configured}: cannot attach the XDP program in {name} mode: {Errno.Describe(errno)}",
        });
    }
}
