using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.Bpf;

/// <summary>Keeps what libbpf prints, per thread, so that it is shown only when an operation fails.</summary>
internal static unsafe class BpfLog
{
    private const int DebugLevel = 2, KeptCharacters = 64 << 10;

    [ThreadStatic]
    private static StringBuilder? t_text;

    static BpfLog() => LibBpf.libbpf_set_print(&Print);

    /// <summary>Call before the operation whose words are wanted.</summary>
    public static void Clear() => t_text = new StringBuilder();

    public static string Take()
    {
        string text = t_text?.ToString() ?? "";
        t_text = null;
        return text;
    }

    [UnmanagedCallersOnly]
    private static int Print(int level, byte* format, void* arguments)
    {
        if (level >= DebugLevel || t_text is not StringBuilder text || text.Length > KeptCharacters)
        {
            return 0;
        }

        const int Size = 16 << 10;
        byte* buffer = (byte*)NativeMemory.Alloc(Size);
        int n = LibBpf.vsnprintf(buffer, Size, format, arguments);
        text.Append(Encoding.UTF8.GetString(new ReadOnlySpan<byte>(buffer, Math.Clamp(n, 0, Size - 1))));
        NativeMemory.Free(buffer);
        return n;
    }
}
