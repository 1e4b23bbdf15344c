using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.FpManager.Features.Vrf;
using FastPathSync.Linux;
using Microsoft.Extensions.Logging;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Sync;

/// <summary>One connection of a cache manager: frames in, tables written, reports out.</summary>
public sealed class FpcSession(Socket socket, VrfRegistry vrfs, ILogger log, Action<FpcSession> greeted) : IDisposable
{
    private const uint ProtocolVersion = 1;
    private readonly FpcConnection _connection = new(socket);

    /// <summary>The VRFs by their ids of this connection. The home VRF is 0 and need not be announced.</summary>
    private readonly Dictionary<uint, string> _names = new() { [0] = "" };
    private bool _greeted;

    /// <summary>Serves until the peer goes, or is sent away for not speaking FPC.</summary>
    public void Run()
    {
        try
        {
            while (_connection.TryReceive(out FpcFrame frame))
            {
                (int errno, string text) = Apply(frame);
                if ((frame.Header.Flags & FpcFlags.ReportWanted) != 0)
                {
                    _connection.Send(FpcType.Report, new Wire.Report { Sequence = frame.Header.Sequence, Errno = errno, Text = text });
                }
            }
        }
        catch (FpcProtocolException e)
        {
            log.LogWarning("FPC peer disconnected: {Reason}", e.Message);
        }
        catch (SocketException e)
        {
            log.LogInformation("FPC peer gone: {Reason}", e.Message);
        }
        finally
        {
            if (_greeted)
            {
                vrfs.ManagerConnected(false);
            }
        }
    }

    public void Shutdown() => _connection.Shutdown();

    public void Dispose() => _connection.Dispose();

    private (int ErrorNumber, string Text) Apply(FpcFrame frame)
    {
        if (frame.Header.Type == FpcType.Hello)
        {
            return Greet(frame.Parse(Wire.Hello.Parser));
        }

        if (!_greeted)
        {
            throw new FpcProtocolException($"{frame.Header.Type} before HELLO");
        }

        if (frame.Header.Type == FpcType.Vrf)
        {
            return Announce(BatchValidator.Valid(frame.Parse(Wire.VrfBatch.Parser)));
        }

        if (!_names.TryGetValue(frame.Header.Vrf, out string? name) || vrfs.TryGet(name) is not VrfEntry vrf)
        {
            return (Errno.ENOENT, $"vrf {frame.Header.Vrf}: no VRF of this id was announced");
        }

        (int errno, string text) = Apply(frame, vrf.State);
        if (errno == Errno.ENOSPC && vrfs.TryGrow(vrf) is not null)
        {
            return (Errno.EAGAIN, $"vrf {name}: {text}; it has larger tables now, send everything again");
        }

        if (errno == Errno.ENOSPC)
        {
            log.LogError("{Error}", text);
        }

        return (errno, text);
    }

    private (int ErrorNumber, string Text) Apply(FpcFrame frame, ForwardingState state)
    {
        switch (frame.Header.Type)
        {
            case FpcType.BeginSync:
                state.BeginSync(frame.Parse(Wire.BeginSync.Parser));
                return (0, "");
            case FpcType.EndSync:
                Wire.EndSync end = frame.Parse(Wire.EndSync.Parser);
                if (!state.TryEndSync(end, out int swept))
                {
                    return (Errno.ESTALE, $"generation {end.Generation} was not begun; begin a new synchronization");
                }

                log.Log(frame.Header.Vrf == 0 ? LogLevel.Information : LogLevel.Debug, "synchronized: generation {Generation}, reason {Reason}, swept {Swept}", end.Generation, end.Reason, swept);
                return (0, "");
            case FpcType.SyncState:
                state.SyncState(frame.Parse(Wire.SyncState.Parser));
                return (0, "");
            case FpcType.Interface:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.InterfaceBatch.Parser))));
            case FpcType.Address:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.AddressBatch.Parser))));
            case FpcType.Route:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.RouteBatch.Parser))));
            case FpcType.Route6:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.Route6Batch.Parser))));
            case FpcType.Nexthop:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.NexthopBatch.Parser))));
            case FpcType.Neighbour:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.NeighbourBatch.Parser))));
            case FpcType.Rule:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.RuleBatch.Parser))));
            case FpcType.Demotion:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.DemotionBatch.Parser))));
            case FpcType.Settings:
                state.Apply(BatchValidator.Valid(frame.Parse(Wire.Settings.Parser)));
                return (0, "");
            case FpcType.Capture:
                state.Apply(BatchValidator.Valid(frame.Parse(Wire.Captures.Parser)));
                return (0, "");
            default:
                throw new FpcProtocolException($"{frame.Header.Type} is not for a server");
        }
    }

    private (int ErrorNumber, string Text) Announce(Wire.VrfBatch batch)
    {
        int errno = 0;
        string text = "";
        foreach (Wire.VrfBatch.Types.Update u in batch.Updates)
        {
            if (u.Upsert is Wire.Vrf v)
            {
                if (vrfs.TryUpsert(v.Name, v.NetnsInode) is VrfEntry entry)
                {
                    entry.State.ManagerConnected(true);
                    _names[v.Id] = v.Name;
                }
                else
                {
                    errno = Errno.ENOSPC;
                    text = $"vrf {v.Name}: there is room for {SharedMemory.Capacities.Vrfs} VRFs only";
                }
            }
            else if (_names.Remove(u.Delete.Id, out string? gone))
            {
                vrfs.Remove(gone);
            }
        }

        if (batch.Complete)
        {
            foreach (VrfEntry v in vrfs.All.Where(v => !_names.ContainsValue(v.Name)))
            {
                vrfs.Remove(v.Name);
            }
        }

        if (errno != 0)
        {
            log.LogError("{Error}", text);
        }

        return (errno, text);
    }

    private (int ErrorNumber, string Text) Greet(Wire.Hello hello)
    {
        if (_greeted)
        {
            return (Errno.EPROTO, "HELLO was said before");
        }

        if (hello.ProtocolVersion != ProtocolVersion)
        {
            return (Errno.EPROTONOSUPPORT, $"protocol version {hello.ProtocolVersion}, this fpmd speaks {ProtocolVersion}; install the same release of both");
        }

        greeted(this);
        _greeted = true;
        vrfs.ManagerConnected(true);
        log.LogInformation("cache manager connected, pid {ManagerPid}", hello.Pid);
        return (0, "");
    }

    private static (int ErrorNumber, string Text) Result(string? error) => error is null ? (0, "") : (Errno.ENOSPC, error);
}
