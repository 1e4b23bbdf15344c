using Google.Protobuf;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>A column of bytes that is filled for each batch anew.</summary>
internal sealed class ColumnBytes
{
    private byte[] _bytes = [];
    private int _count;

    /// <summary>Not a copy: good until the next Clear.</summary>
    public ByteString Bytes => UnsafeByteOperations.UnsafeWrap(_bytes.AsMemory(0, _count));

    public void Add(byte value)
    {
        if (_count == _bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(64, 2 * _count));
        }

        _bytes[_count++] = value;
    }

    public void Clear() => _count = 0;
}
