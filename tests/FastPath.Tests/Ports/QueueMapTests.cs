using FastPathSync.FastPath.Ports;

namespace FastPathSync.FastPath.Tests.Ports;

public sealed class QueueMapTests
{
    private readonly QueueMap _map = new(workers: 2);

    [Fact]
    public void UntilSomebodyChoosesWorkersTakeTurns() => Assert.Equal([0, 1, 0, 1], After(4, 4));

    [Fact]
    public void WhatWasChosenHoldsAndFurtherQueuesTakeTurns()
    {
        _map.Choose([1, 1, 0]);
        Assert.Equal([1, 1, 0], After(3, 3));
        Assert.Equal([1, 1, 0, 1, 0], After(5, 5));
        Assert.Equal(3, _map.CountOf(1));
    }

    [Fact]
    public void AChoiceThatLeavesAWorkerMuteDoesNotHold()
    {
        _map.Choose([1, 1, 0]);
        Assert.Equal([0, 1], After(2, 2)); // worker 0 would have none
        Assert.Equal([0, 1, 0], After(3, 2)); // worker 0 would send by queue 2
        Assert.Equal([1, 1, 0], After(3, 3)); // and holds again where it can
    }

    [Fact]
    public void AChoiceOfMoreWorkersThanThereAreDoesNotHold()
    {
        _map.Choose([2, 1, 0]);
        Assert.Equal([0, 1, 0], After(3, 3));
    }

    private int[] After(int queues, int transmitQueues)
    {
        _map.Take(queues, transmitQueues);
        return [.. Enumerable.Range(0, _map.Queues).Select(q => _map[q])];
    }
}
