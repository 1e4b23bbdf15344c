using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Features;

/// <summary>What became of an event.</summary>
public enum EventOutcome
{
    Applied,

    /// <summary>Understood, and none of our business (another family, a cached clone).</summary>
    Ignored,

    /// <summary>Not understood: the kernel has to be asked again.</summary>
    Malformed,
}

/// <summary>Where features put their batches. A batch may be reused as soon as Send has returned.</summary>
public interface IPublisher
{
    /// <summary>CLOCK_MONOTONIC of the oldest event in this burst, 0 in a resync.</summary>
    ulong ObservedNs { get; }

    /// <returns>False when the connection is gone: stop, everything is sent again on the next one.</returns>
    bool Send(FpcType type, IMessage batch);
}

/// <summary>
/// One kind of kernel object: how it is subscribed to, dumped, cached and published. Everything is called on cmgrd's
/// worker thread.
/// </summary>
public interface IFeature
{
    ObjectKind Kind { get; }

    /// <summary>RTNLGRP_* to join.</summary>
    IReadOnlyList<int> Groups { get; }

    /// <summary>RTM_* that Apply understands.</summary>
    IReadOnlyList<ushort> MessageTypes { get; }

    /// <summary>Called between the parts of what may take long (a dump, many batches): some things can't wait for its end.</summary>
    Action Urgent { get; set; }

    EventOutcome Apply(scoped in NetlinkMessage message);

    /// <summary>Makes the cache what the kernel says now; what differed is published with the next burst.</summary>
    /// <returns>How many objects differed.</returns>
    int Refresh(NetlinkSocket socket);

    /// <summary>After a burst of events, before it is published: asks the kernel for what the events left out.</summary>
    /// <exception cref="Linux.LinuxException">The dump failed; what is known is published meanwhile.</exception>
    void Complete(NetlinkSocket socket)
    {
    }

    /// <summary>Sends what exists and changed since the last Settle, or all that exists.</summary>
    bool PublishUpserts(IPublisher publisher, bool all);

    /// <summary>Sends the deletion of what has gone since the last Settle.</summary>
    bool PublishDeletes(IPublisher publisher);

    bool HasChanges { get; }

    /// <summary>Objects in the cache.</summary>
    int Count { get; }

    /// <summary>Linux changes such objects without a word: that the cache differs from a dump is no fault.</summary>
    bool ChangesSilently => false;

    /// <summary>Everything published: begin to gather changes anew.</summary>
    void Settle();
}
