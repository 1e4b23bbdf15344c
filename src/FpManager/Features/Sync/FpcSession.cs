using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.Linux;
using Microsoft.Extensions.Logging;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Sync;

/// <summary>One connection of a cache manager: frames in, tables written, reports out.</summary>
public sealed class FpcSession(Socket socket, ForwardingState state, ILogger log, Action<FpcSession> greeted) : IDisposable
{
    private const uint ProtocolVersion = 1;
    private readonly FpcConnection _connection = new(socket);
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
                state.ManagerConnected(false);
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

        if (frame.Header.Vrf != 0)
        {
            return (Errno.ENOENT, $"vrf {frame.Header.Vrf}: this fast path serves VRF 0 only");
        }

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

                log.LogInformation("synchronized: generation {Generation}, reason {Reason}, swept {Swept}", end.Generation, end.Reason, swept);
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
            case FpcType.Nexthop:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.NexthopBatch.Parser))));
            case FpcType.Neighbour:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.NeighbourBatch.Parser))));
            case FpcType.Demotion:
                return Result(state.Apply(BatchValidator.Valid(frame.Parse(Wire.DemotionBatch.Parser))));
            case FpcType.Settings:
                state.Apply(BatchValidator.Valid(frame.Parse(Wire.Settings.Parser)));
                return (0, "");
            default:
                throw new FpcProtocolException($"{frame.Header.Type} is not for a server");
        }
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
        state.ManagerConnected(true);
        log.LogInformation("cache manager connected, pid {ManagerPid}", hello.Pid);
        return (0, "");
    }

    private (int ErrorNumber, string Text) Result(string? error)
    {
        if (error is null)
        {
            return (0, "");
        }

        log.LogError("{Error}", error);
        return (Errno.ENOSPC, error);
    }
}
