namespace FastPathSync.FastPath.Ports;

/// <summary>
/// Which worker serves each receive queue of a port: queue q worker q mod workers, until somebody chooses (NETFPC SetPortWorkers). A worker sends
/// through the lowest of its queues, so that each worker needs one, and that one a transmit side.
/// </summary>
internal sealed class QueueMap(int workers)
{
    private int[] _chosen = []; // by queue; empty: nobody has
    private int[] _workers = [];

    public int Queues => _workers.Length;

    public int this[int queue] => _workers[queue];

    public int CountOf(int worker) => _workers.Count(w => w == worker);

    /// <summary>The port has so many queues now. What was chosen holds where it is possible.</summary>
    public void Take(int queues, int transmitQueues)
    {
        int[] ordinary = [.. Enumerable.Range(0, queues).Select(q => q % workers)];
        int[] wanted = [.. _chosen.Take(queues), .. ordinary.Skip(_chosen.Length)];
        _workers = _chosen.Length == 0 || Fault(wanted, transmitQueues) is not null ? ordinary : wanted;
    }

    public void Choose(IEnumerable<int> byQueue) => _chosen = [.. byQueue];

    /// <summary>Why it can't be so; null: it can.</summary>
    public string? Fault(IReadOnlyList<int> byQueue, int transmitQueues)
    {
        foreach (int worker in byQueue.Where(w => w < 0 || w >= workers))
        {
            return $"there is no worker {worker}: they are 0 to {workers - 1}";
        }

        for (int w = 0; w < workers; w++)
        {
            int lowest = byQueue.TakeWhile(o => o != w).Count();
            if (lowest == byQueue.Count)
            {
                return $"worker {w} is left without a queue of this port, and could not send to it; each needs one";
            }

            if (lowest >= transmitQueues)
            {
                return $"worker {w} would send by queue {lowest}, and the port has {transmitQueues} transmit queue{(transmitQueues == 1 ? "" : "s")}; give it a lower one, or the port more (ethtool -L)";
            }
        }

        return null;
    }
}
