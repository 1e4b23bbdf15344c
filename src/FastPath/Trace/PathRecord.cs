using System.Numerics;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Trace;

/// <summary>The way of each packet of one burst through the nodes, and what the route lookup said. By slot, as the vector is ordered in the end.</summary>
internal sealed unsafe class PathRecord
{
    private readonly ushort[] _passed = new ushort[PacketVector.Size];
    private readonly ulong[] _nexthop = new ulong[PacketVector.Size];
    private readonly uint[] _entry = new uint[PacketVector.Size];
    private byte* _first;
    private ulong _ended;

    /// <summary>To be called before each run.</summary>
    public void Begin()
    {
        _first = null;
        _ended = 0;
        Array.Clear(_passed);
        Array.Clear(_nexthop);
        Array.Clear(_entry);
    }

    /// <summary>A bit for each node that the packet came to.</summary>
    public ushort Passed(int slot) => _passed[slot];

    /// <summary>The last node that it came to: where it was decided.</summary>
    public PipelineNode Last(int slot) => (PipelineNode)BitOperations.Log2(_passed[slot]);

    /// <summary>The nexthop's word: a forwarded packet's final one; 0 when no lookup was made.</summary>
    public ulong Nexthop(int slot) => _nexthop[slot];

    /// <summary>The FIB entry of the destination; 0 when it wasn't found, when no lookup was made, or rules were asked.</summary>
    public uint Entry(int slot) => _entry[slot];

    public void After(PipelineNode node, in PacketVector v)
    {
        if (_first == null)
        {
            _first = v.Verdict; // ethernet-input has them all
        }

        int offset = (int)(v.Verdict - _first);
        for (int i = 0; i < v.Count; i++)
        {
            int slot = offset + i;
            if ((_ended >> slot & 1) != 0)
            {
                continue;
            }

            _passed[slot] |= (ushort)(1 << (int)node);
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                _ended |= 1ul << slot;
            }

            switch (node)
            {
                case PipelineNode.Ipv4Lookup or PipelineNode.Ipv6Lookup:
                    _entry[slot] = v.Entry[i];
                    _nexthop[slot] = v.Nexthop[i];
                    break;
                case PipelineNode.Ipv4Rule or PipelineNode.Ipv6Rule:
                    _nexthop[slot] = v.Nexthop[i];
                    break;
            }
        }
    }
}

/// <summary>Has a PathRecord written while the pipeline runs.</summary>
internal readonly struct PathObserver(PathRecord record) : IPipelineObserver
{
    public void After(PipelineNode node, in PacketVector v) => record.After(node, v);
}
