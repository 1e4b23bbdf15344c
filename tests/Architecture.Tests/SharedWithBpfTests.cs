using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Architecture.Tests;

/// <summary>What stands in bpf/*_def.h, as a C compiler understands it, against the C# beside it.</summary>
public sealed class SharedWithBpfTests
{
    private const string Layout = "FastPathSync.FastPath.Ports.XdpLayout",
        Constants = "FastPathSync.FastPath.Ports.XdpConstants";

    [Fact]
    public void PassReasonsHaveTheSameNumbers()
    {
        PassReason[] reasons = Enum.GetValues<PassReason>();
        long[] c = Evaluate("xdp_def.h", [.. reasons.Select(r => $"PASS_{ReasonOrCount(r)}")]);
        for (int i = 0; i < reasons.Length; i++)
        {
            Assert.True((long)reasons[i] == c[i], $"{reasons[i]} is {(int)reasons[i]} here and {c[i]} in C");
        }
    }

    [Fact]
    public void ConstantsAndHeartbeatsLieAlike()
    {
        long[] c = Evaluate(
            "xdp_def.h",
            "sizeof(struct xdp_constants)",
            "offsetof(struct xdp_constants, generic)",
            "offsetof(struct xdp_constants, cookie)",
            "PORT_CONFIG_LENGTH_SHIFT",
            "HEARTBEAT_WORKERS",
            "offsetof(struct heartbeat_beats, workers)",
            "offsetof(struct heartbeat_beats, worker[0].count)",
            "offsetof(struct heartbeat_beats, worker[5].count)");
        Type constants = FastPathType(Constants), layout = FastPathType(Layout);
        Assert.Equal(c[0], Marshal.SizeOf(constants));
        Assert.Equal(c[1], Marshal.OffsetOf(constants, "Generic"));
        Assert.Equal(c[2], Marshal.OffsetOf(constants, "Cookie"));
        Assert.Equal(c[3], Constant(layout, "ConfigLengthShift"));
        Assert.Equal(c[4], Constant(layout, "HeartbeatWorkers"));
        Assert.Equal(0, c[5]);
        MethodInfo beat = layout.GetMethod("BeatOffset")!;
        Assert.Equal((int)c[6], beat.Invoke(null, [0]));
        Assert.Equal((int)c[7], beat.Invoke(null, [5]));
    }

    [Fact]
    public void LocalAddressesHashAlike()
    {
        uint[] addresses = [0, 1, 0x0a010001, 0x7f000001, 0xc0a80101, 0xffffffff, 0xdeadbeef];
        long[] c = Evaluate("xdp_def.h", ["ADDRESS_FILTER_BITS", .. addresses.Select(a => $"ADDRESS_FILTER_HASH({a}u)")]);
        Assert.Equal(LocalAddressFilter.Bytes * 8, c[0]);
        Assert.Equal(c[1..], addresses.Select(a => (long)LocalAddressFilter.Hash(a)));
    }

    [Fact]
    public void ThePolicersTablesLieAlike()
    {
        AssertSameFields("policer_constants", "PolicerConstants", "token_ns window_ns rate burst per match dport protocol ttl packet_clock");
        AssertSameFields("policer_key", "PolicerKey", "family source");
        AssertSameFields("efsm_state", "PolicerFlow", "word forwarded dropped");
        AssertSameNumbers("PolicerPer", "POLICER_PER_");
        AssertSameNumbers("PolicerState", "POLICER_");
        AssertSameNumbers("PolicerMatchBits", "POLICER_MATCH_", except: "All");
        Assert.Equal(Evaluate("policer_def.h", "POLICER_STATE_BITS")[0], Constant(PolicerType("PolicerFlow"), "StateBits"));
        Type layout = PolicerType("PolicerLayout");
        string[] totals = ["Forwarded", "Dropped", "Unmatched", "Untracked"];
        Assert.Equal(
            Evaluate("policer_def.h", ["POLICER_FLOWS", .. totals.Select(t => $"POLICER_{t.ToUpperInvariant()}")]),
            (long[])[Constant(layout, "DefaultFlows"), .. totals.Select(t => Constant(layout, t))]);
    }

    [Fact]
    public void TheCarriersFramesAreSentUnderTheProtocolThatThePolicerKnows() => Assert.Equal(
        Evaluate("fptun_def.h", "FPTUN_ETHERTYPE")[0],
        BinaryPrimitives.ReverseEndianness((ushort)Constant(FastPathType("FastPathSync.FastPath.Exceptions.CarrierQueue"), "NobodysProtocol")));

    /// <summary>Size of the struct and offset of each field; C says token_ns where C# says TokenNs.</summary>
    private static void AssertSameFields(string c, string name, string fields)
    {
        string[] names = fields.Split(' ');
        Type type = PolicerType(name);
        Assert.Equal(
            Evaluate("policer_def.h", [$"sizeof(struct {c})", .. names.Select(f => $"offsetof(struct {c}, {f})")]),
            (long[])[Marshal.SizeOf(type), .. names.Select(f => (long)Marshal.OffsetOf(type, string.Concat(f.Split('_').Select(w => $"{char.ToUpperInvariant(w[0])}{w[1..]}"))))]);
        Assert.Equal(names.Length, type.GetFields().Length);
    }

    private static void AssertSameNumbers(string name, string prefix, string? except = null)
    {
        Type type = PolicerType(name);
        string[] names = [.. Enum.GetNames(type).Where(n => n != except)];
        Assert.Equal(
            Evaluate("policer_def.h", [.. names.Select(n => $"{prefix}{n.ToUpperInvariant()}")]),
            names.Select(n => Convert.ToInt64(Enum.Parse(type, n), CultureInfo.InvariantCulture)));
    }

    private static Type PolicerType(string name) => Assembly.Load("fpctl").GetType($"FastPathSync.Fpctl.Features.Policer.{name}", throwOnError: true)!;

    private static string ReasonOrCount(PassReason reason) =>
        reason == PassReason.Count ? "COUNT" : ReasonNames.Of(reason).Replace('-', '_').ToUpperInvariant();

    private static Type FastPathType(string name) => Assembly.Load("fastpath").GetType(name, throwOnError: true)!;

    private static long Constant(Type type, string name) =>
        Convert.ToInt64(type.GetField(name, BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)!.GetRawConstantValue(), CultureInfo.InvariantCulture);

    /// <summary>Compiles a program that prints these C expressions, and runs it.</summary>
    private static long[] Evaluate(string header, params string[] expressions)
    {
        string path = Path.Combine(Repository.Root, "bpf", header);
        Assert.True(File.Exists(path), $"{path} is missing");
        DirectoryInfo scratch = Directory.CreateTempSubdirectory("fps-layout-");
        try
        {
            string source = Path.Combine(scratch.FullName, "layout.c"), program = Path.Combine(scratch.FullName, "layout");
            StringBuilder c = new($"#include <stddef.h>\n#include <stdio.h>\n#include \"{path}\"\nint main(void) {{\n");
            foreach (string e in expressions)
            {
                c.Append(CultureInfo.InvariantCulture, $"printf(\"%lld\\n\", (long long)({e}));\n");
            }

            File.WriteAllText(source, c.Append("return 0; }\n").ToString());
            Run("clang", "-Wall", "-o", program, source);
            return [.. Run(program).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => long.Parse(l, CultureInfo.InvariantCulture))];
        }
        finally
        {
            scratch.Delete(recursive: true);
        }
    }

    private static string Run(string program, params string[] arguments)
    {
        ProcessStartInfo info = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        Process process;
        try
        {
            process = Process.Start(info)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip($"needs {program} (./dev setup installs it)");
            throw;
        }

        using (process)
        {
            Task<string> error = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, $"{program}: {error.Result}");
            return output;
        }
    }
}
