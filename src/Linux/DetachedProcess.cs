using System.Collections;
using System.Text;

namespace FastPathSync.Linux;

/// <summary>
/// Starts programs that outlive whoever starts them: in a session of their own, stdin from /dev/null, stdout and stderr
/// appended to a file (never a pipe, whose reader could die), all signals at their defaults.
/// </summary>
public static unsafe class DetachedProcess
{
    // glibc: posix_spawnattr_t is 336 bytes, posix_spawn_file_actions_t 80, sigset_t 128.
    private const int AttributeBytes = 512, ActionBytes = 256, SignalSetBytes = 128;

    /// <returns>The pid. The caller is the parent and has to reap it (Reap).</returns>
    /// <param name="environment">Variables added to, or replaced in, those of this process.</param>
    /// <param name="inherited">A descriptor that the program finds as its number 3.</param>
    public static int Start(
        string program,
        IReadOnlyList<string> arguments,
        string outputFile,
        IReadOnlyDictionary<string, string>? environment = null,
        FileDescriptor? inherited = null)
    {
        byte* actions = stackalloc byte[ActionBytes];
        byte* attributes = stackalloc byte[AttributeBytes];
        byte* signals = stackalloc byte[SignalSetBytes];
        _ = Libc.posix_spawn_file_actions_init(actions);
        _ = Libc.posix_spawnattr_init(attributes);
        List<nint> strings = [];
        try
        {
            const int O_APPEND = 0x400;
            _ = Libc.posix_spawn_file_actions_addopen(actions, 0, "/dev/null", Libc.O_RDONLY, 0);
            _ = Libc.posix_spawn_file_actions_addopen(actions, 1, outputFile, Libc.O_WRONLY | Libc.O_CREAT | O_APPEND, 0x180 /* 0600 */);
            _ = Libc.posix_spawn_file_actions_adddup2(actions, 1, 2);
            if (inherited is not null)
            {
                // Clears FD_CLOEXEC of the copy, also when the numbers are equal (glibc 2.29).
                _ = Libc.posix_spawn_file_actions_adddup2(actions, inherited.Number, 3);
            }

            _ = Libc.posix_spawn_file_actions_addchdir_np(actions, "/");
            _ = Libc.sigfillset(signals);
            _ = Libc.posix_spawnattr_setsigdefault(attributes, signals);
            _ = Libc.sigemptyset(signals);
            _ = Libc.posix_spawnattr_setsigmask(attributes, signals);
            _ = Libc.posix_spawnattr_setflags(
                attributes,
                Libc.POSIX_SPAWN_SETSID | Libc.POSIX_SPAWN_SETSIGDEF | Libc.POSIX_SPAWN_SETSIGMASK);

            byte** argv = Vector([program, .. arguments], strings);
            byte** envp = Vector(Environment(environment), strings);
            int pid;
            int errno = Libc.posix_spawn(&pid, program, actions, attributes, argv, envp);
            return errno == 0 ? pid : throw new LinuxException(errno, "start", program);
        }
        finally
        {
            foreach (nint s in strings)
            {
                System.Runtime.InteropServices.NativeMemory.Free((void*)s);
            }

            _ = Libc.posix_spawnattr_destroy(attributes);
            _ = Libc.posix_spawn_file_actions_destroy(actions);
        }
    }

    /// <summary>Takes the exit status of a child that has ended. False when it has not ended, or is no child of ours.</summary>
    public static bool TryReap(int pid, out int waitStatus)
    {
        int status;
        bool reaped = Libc.waitpid(pid, &status, Libc.WNOHANG) == pid;
        waitStatus = reaped ? status : 0;
        return reaped;
    }

    /// <summary>"exit status 1", "killed by signal 9".</summary>
    public static string DescribeStatus(int waitStatus) =>
        (waitStatus & 0x7f) == 0 ? $"exit status {(waitStatus >> 8) & 0xff}" : $"killed by signal {waitStatus & 0x7f}";

    private static IEnumerable<string> Environment(IReadOnlyDictionary<string, string>? changes)
    {
        foreach (DictionaryEntry e in System.Environment.GetEnvironmentVariables())
        {
            if (changes is null || !changes.ContainsKey((string)e.Key))
            {
                yield return $"{e.Key}={e.Value}";
            }
        }

        foreach ((string name, string value) in changes ?? new Dictionary<string, string>())
        {
            yield return $"{name}={value}";
        }
    }

    private static byte** Vector(IEnumerable<string> texts, List<nint> allocations)
    {
        List<nint> pointers = [];
        foreach (string text in texts)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            byte* copy = (byte*)System.Runtime.InteropServices.NativeMemory.AllocZeroed((nuint)utf8.Length + 1);
            utf8.CopyTo(new Span<byte>(copy, utf8.Length));
            pointers.Add((nint)copy);
            allocations.Add((nint)copy);
        }

        nint* vector = (nint*)System.Runtime.InteropServices.NativeMemory.AllocZeroed((nuint)(pointers.Count + 1), (nuint)sizeof(nint));
        allocations.Add((nint)vector);
        for (int i = 0; i < pointers.Count; i++)
        {
            vector[i] = pointers[i];
        }

        return (byte**)vector;
    }
}
