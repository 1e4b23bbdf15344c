using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>The blocks of the arena: how nodes and leaves are made and taken apart, and what is in them.</summary>
public sealed unsafe partial class FibTrieWriter
{
    private static bool LeafIs(byte* leaf, FibKey key, int length) =>
        FibEntry.Depth(*(uint*)(leaf + 8)) == length && KeyOf(leaf) == key;

    private static FibKey KeyOf(byte* leaf) =>
        new(*(ulong*)leaf, FibEntry.Depth(*(uint*)(leaf + 8)) > 64 ? *(ulong*)(leaf + 16) : 0);

    private static int LeafUnits(uint entry) => FibEntry.Depth(entry) > 64 ? 2 : 1;

    private static int NodeUnits(ulong children, ulong prefixes) =>
        (FibTrieSegment.NodeHeaderWords + BitOperations.PopCount(children) + BitOperations.PopCount(prefixes) + 3) / 4;

    private static (ulong Children, ulong Prefixes) Bitmaps(byte* node) => (((ulong*)node)[0], ((ulong*)node)[1] & ~FibTrieSegment.NextWindow);

    /// <summary>The place in a node's prefix bitmap. The length must end inside the node.</summary>
    private static int PrefixBit(FibKey key, int length, int level)
    {
        int r = length - level;
        return (1 << r) - 1 + (FibTrieSegment.Digit(key.High, key.Low, level) >> (FibTrieSegment.Stride - r));
    }

    /// <summary>The reverse of PrefixBit, for a node that some key led to.</summary>
    private static (FibKey Prefix, int Length) PrefixAt(FibKey key, int level, int bit)
    {
        int r = BitOperations.Log2((uint)bit + 1), p = bit + 1 - (1 << r);
        FibKey above = key.Prefix(Math.Max(level, 0)), own = FibTrieSegment.AtLevel(p << (FibTrieSegment.Stride - r), level);
        return (new FibKey(above.High | own.High, above.Low | own.Low), level + r);
    }

    private static uint* ChildWord(byte* node, int v) =>
        FibTrieReader.ChildrenOf(node) + BitOperations.PopCount(*(ulong*)node & ((1ul << v) - 1));

    private static uint* PrefixWord(byte* node, int bit) =>
        FibTrieReader.ChildrenOf(node) + BitOperations.PopCount(*(ulong*)node) + BitOperations.PopCount(((ulong*)node)[1] & ((1ul << bit) - 1));

    private static uint UnitOf(uint reference) => reference / FibTrieSegment.UnitBytes;

    private byte* Block(uint reference) => _reader.Units + (reference & FibTrieSegment.OffsetMask);

    private FibArray ArrayAt(uint reference, int level) => new(Block(reference), reference, level);

    /// <summary>A node with one child and nothing else.</summary>
    private bool IsChain(uint reference)
    {
        (ulong children, ulong prefixes) = Bitmaps(Block(reference));
        return (reference & (FibTrieSegment.ArrayFlag | FibTrieSegment.LeafFlag)) == 0 && prefixes == 0 && ulong.IsPow2(children);
    }

    private int UnitsOf(uint reference, int level)
    {
        byte* block = Block(reference);
        if ((reference & FibTrieSegment.LeafFlag) != 0)
        {
            return LeafUnits(*(uint*)(block + 8));
        }

        if ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            return ArrayAt(reference, level).Units;
        }

        (ulong children, ulong prefixes) = Bitmaps(block);
        return NodeUnits(children, prefixes);
    }

    /// <summary>A reference to a new block, 0 when there is no room.</summary>
    private uint Make(int units)
    {
        uint unit = _arena.Allocate(units, _removing);
        if (unit != 0)
        {
            _made.Add((unit, units));
        }

        return unit * FibTrieSegment.UnitBytes;
    }

    private void Drop(uint reference, int level) => _dropped.Add((UnitOf(reference), UnitsOf(reference, level)));

    private uint MakeLeaf(FibKey key, uint entry)
    {
        uint made = Make(LeafUnits(entry));
        if (made == 0)
        {
            return 0;
        }

        byte* leaf = Block(made);
        *(ulong*)leaf = key.High;
        *(ulong*)(leaf + 8) = entry;
        if (FibEntry.Depth(entry) > 64)
        {
            *(ulong*)(leaf + 16) = key.Low;
            *(ulong*)(leaf + 24) = 0;
        }

        return made | FibTrieSegment.LeafFlag;
    }

    private uint MakeNode(int level, ulong children, ulong prefixes, uint first, uint second = 0)
    {
        uint made = Make(NodeUnits(children, prefixes));
        if (made != 0)
        {
            byte* node = Block(made);
            ((ulong*)node)[0] = children;
            ((ulong*)node)[1] = prefixes | (FibTrieSegment.IsWindowLevel(level) ? FibTrieSegment.NextWindow : 0);
            FibTrieReader.ChildrenOf(node)[0] = first;
            FibTrieReader.ChildrenOf(node)[1] = second;
        }

        return made;
    }

    /// <summary>The node with one child or prefix more (its word is given), or one less.</summary>
    private uint Clone(byte* node, ulong children, ulong prefixes, uint word)
    {
        uint cloned = Make(NodeUnits(children, prefixes));
        if (cloned == 0)
        {
            return 0;
        }

        (ulong oldChildren, ulong oldPrefixes) = Bitmaps(node);
        int old = BitOperations.PopCount(oldChildren) + BitOperations.PopCount(oldPrefixes);
        bool more = BitOperations.PopCount(children) + BitOperations.PopCount(prefixes) > old;
        ulong changed = children ^ oldChildren;
        int at = changed != 0
            ? BitOperations.PopCount(children & (changed - 1))
            : BitOperations.PopCount(children) + BitOperations.PopCount(prefixes & ((prefixes ^ oldPrefixes) - 1));
        byte* made = Block(cloned);
        ((ulong*)made)[0] = children;
        ((ulong*)made)[1] = prefixes | (((ulong*)node)[1] & FibTrieSegment.NextWindow);
        uint* from = FibTrieReader.ChildrenOf(node), to = FibTrieReader.ChildrenOf(made);
        new ReadOnlySpan<uint>(from, at).CopyTo(new Span<uint>(to, at));
        if (more)
        {
            to[at] = word;
            new ReadOnlySpan<uint>(from + at, old - at).CopyTo(new Span<uint>(to + at + 1, old - at));
        }
        else
        {
            new ReadOnlySpan<uint>(from + at + 1, old - at - 1).CopyTo(new Span<uint>(to + at, old - at - 1));
        }

        return cloned;
    }

    /// <summary>A leaf and another prefix where the leaf was: nodes down to where they part.</summary>
    private uint Fork(int level, uint leaf, FibKey key, int length, uint entry)
    {
        byte* old = Block(leaf);
        FibKey oldKey = KeyOf(old);
        uint oldEntry = *(uint*)(old + 8);
        bool oldEnds = FibEntry.Depth(oldEntry) < level + FibTrieSegment.Stride, newEnds = length < level + FibTrieSegment.Stride;
        if (oldEnds)
        {
            Drop(leaf, level);
            ulong oldBit = 1ul << PrefixBit(oldKey, FibEntry.Depth(oldEntry), level);
            if (newEnds)
            {
                ulong newBit = 1ul << PrefixBit(key, length, level);
                return newBit < oldBit ? MakeNode(level, 0, oldBit | newBit, entry, oldEntry) : MakeNode(level, 0, oldBit | newBit, oldEntry, entry);
            }

            uint made = MakeLeaf(key, entry);
            return made == 0 ? 0 : MakeNode(level, 1ul << FibTrieSegment.Digit(key.High, key.Low, level), oldBit, made, oldEntry);
        }

        int oldDigit = FibTrieSegment.Digit(oldKey.High, oldKey.Low, level), newDigit = FibTrieSegment.Digit(key.High, key.Low, level);
        if (newEnds)
        {
            return MakeNode(level, 1ul << oldDigit, 1ul << PrefixBit(key, length, level), leaf, entry);
        }

        if (oldDigit == newDigit)
        {
            uint below = Fork(level + FibTrieSegment.Stride, leaf, key, length, entry);
            return below == 0 ? 0 : MakeNode(level, 1ul << oldDigit, 0, below);
        }

        uint other = MakeLeaf(key, entry);
        return other == 0 ? 0
            : newDigit < oldDigit ? MakeNode(level, (1ul << oldDigit) | (1ul << newDigit), 0, other, leaf)
            : MakeNode(level, (1ul << oldDigit) | (1ul << newDigit), 0, leaf, other);
    }

    /// <summary>Every block of a subtree, as its first unit and its size.</summary>
    private void EachBlock(uint reference, int level, Action<uint, int> block)
    {
        if (reference == 0)
        {
            return;
        }

        byte* b = Block(reference);
        int units = UnitsOf(reference, level);
        if ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            FibArray array = ArrayAt(reference, level);
            for (int i = 0; i < array.Size; i++)
            {
                EachBlock(array.Slots[i].Child, array.End, block);
            }
        }
        else if ((reference & FibTrieSegment.LeafFlag) == 0)
        {
            int children = BitOperations.PopCount(*(ulong*)b);
            for (int i = 0; i < children; i++)
            {
                EachBlock(FibTrieReader.ChildrenOf(b)[i], level + FibTrieSegment.Stride, block);
            }
        }

        block(UnitOf(reference), units);
    }

    /// <summary>Every prefix of a subtree, as its key and its entry.</summary>
    private void EachPrefix(uint reference, int level, FibKey key, Action<FibKey, uint> prefix)
    {
        if (reference == 0)
        {
            return;
        }

        byte* b = Block(reference);
        if ((reference & FibTrieSegment.LeafFlag) != 0)
        {
            prefix(KeyOf(b), *(uint*)(b + 8));
            return;
        }

        if ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            FibArray array = ArrayAt(reference, level);
            for (int i = 0; i < array.Size; i++)
            {
                if (i > 0 && array.OwnEntries[i] != 0)
                {
                    prefix(array.KeyOfOwn(key, i), array.OwnEntries[i]);
                }

                EachPrefix(array.Slots[i].Child, array.End, array.KeyOfSlot(key, i), prefix);
            }

            return;
        }

        (ulong children, ulong prefixes) = Bitmaps(b);
        for (; prefixes != 0; prefixes &= prefixes - 1)
        {
            int bit = BitOperations.TrailingZeroCount(prefixes);
            prefix(PrefixAt(key, level, bit).Prefix, *PrefixWord(b, bit));
        }

        for (; children != 0; children &= children - 1)
        {
            int v = BitOperations.TrailingZeroCount(children);
            FibKey own = FibTrieSegment.AtLevel(v, level);
            EachPrefix(*ChildWord(b, v), level + FibTrieSegment.Stride, new FibKey(key.High | own.High, key.Low | own.Low), prefix);
        }
    }
}
