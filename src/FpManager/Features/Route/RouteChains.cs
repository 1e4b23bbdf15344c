using System.Runtime.InteropServices;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>Lists of route records by slot: each record stands in at most one.</summary>
/// <param name="capacity">Of the records. What is never used of it is never touched, and takes no memory.</param>
internal sealed unsafe class RouteChains(int capacity)
{
    private readonly int* _next = (int*)NativeMemory.AllocZeroed((nuint)capacity, sizeof(int));

    ~RouteChains() => NativeMemory.Free(_next);

    /// <summary>The slot + 1 that follows; 0: none.</summary>
    public int After(int slotPlusOne) => _next[slotPlusOne - 1];

    public void Link(int slot, ref int head)
    {
        _next[slot] = head;
        head = slot + 1;
    }

    public void Unlink(int slot, ref int head)
    {
        if (head == slot + 1)
        {
            head = _next[slot];
            return;
        }

        int s = head;
        while (_next[s - 1] != slot + 1)
        {
            s = _next[s - 1];
        }

        _next[s - 1] = _next[slot];
    }
}
