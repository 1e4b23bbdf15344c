using System.Globalization;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Control;

/// <summary>The capabilities of linux/capability.h that the fast path needs, looked at before anything is made.</summary>
internal static class Privileges
{
    public const int CAP_NET_ADMIN = 12, CAP_NET_RAW = 13, CAP_IPC_LOCK = 14, CAP_SYS_ADMIN = 21, CAP_BPF = 39;

    private static readonly (int Bit, string Name, string Use)[] s_needed =
    [
        (CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach XDP programs and make the TAP device"),
        (CAP_NET_RAW, "CAP_NET_RAW", "open AF_XDP and packet sockets"),
        (CAP_BPF, "CAP_BPF", "load eBPF programs"),
    ];

    public static ulong Effective()
    {
        foreach (string line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith("CapEff:", StringComparison.Ordinal))
            {
                return ulong.Parse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }
        }

        return 0;
    }

    public static void Require(ulong effective)
    {
        // CAP_SYS_ADMIN implies CAP_BPF (linux/capability.h: bpf_capable).
        (int Bit, string Name, string Use)[] missing =
            [.. s_needed.Where(c => !Has(effective, c.Bit) && !(c.Bit == CAP_BPF && Has(effective, CAP_SYS_ADMIN)))];
        if (missing.Length != 0)
        {
            throw new DaemonStartException(
                Errno.EPERM,
                $"{string.Join(" and ", missing.Select(c => c.Name))} missing (to {string.Join(", ", missing.Select(c => c.Use))}): run as root, or give the daemon these capabilities");
        }
    }

    public static bool Has(ulong effective, int bit) => (effective >> bit & 1) != 0;
}
