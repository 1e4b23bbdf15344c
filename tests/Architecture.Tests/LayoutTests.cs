using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.SharedMemory;

namespace FastPathSync.Architecture.Tests;

/// <summary>
/// The layout of shared memory, field by field, against layout.golden. Processes of different builds meet there, so a
/// change without a new SegmentHeader.CurrentLayoutVersion would let one read the other's tables wrongly.
/// </summary>
public sealed class LayoutTests
{
    private static readonly string s_golden = Path.Combine(Repository.Root, "tests/Architecture.Tests/layout.golden");

    [Fact]
    public void EveryChangeOfLayoutRaisesTheVersion()
    {
        string now = Describe(), version = $"layout version {SegmentHeader.CurrentLayoutVersion}\n";
        string golden = File.Exists(s_golden) ? File.ReadAllText(s_golden) : "";
        if (golden == version + now)
        {
            return;
        }

        Assert.False(
            golden.StartsWith(version, StringComparison.Ordinal),
            $"the layout of shared memory has changed: raise SegmentHeader.CurrentLayoutVersion. First difference: {FirstDifference(golden, version + now)}");
        if (Environment.GetEnvironmentVariable("FPS_UPDATE_GOLDEN") == "1")
        {
            File.WriteAllText(s_golden, version + now);
            return;
        }

        Assert.Fail("layout.golden is of another layout version: FPS_UPDATE_GOLDEN=1 dotnet run --project tests/Architecture.Tests writes it anew");
    }

    [Fact]
    public void TheHeaderIs128BytesAndTheAdjacencyACacheLine()
    {
        Assert.Equal(128, Unsafe.SizeOf<SegmentHeader>());
        Assert.Equal(64, Unsafe.SizeOf<SharedMemory.Tables.Adjacency>());
    }

    [Fact]
    public void ReasonsFitTheirCounters()
    {
        Assert.True((int)SharedMemory.Tables.PuntReason.Count <= 64, "PortCounters.Punted has 64 places");
        Assert.True((int)SharedMemory.Tables.DropReason.Count <= 8, "PortCounters.Dropped has 8 places");
        Assert.True((int)SharedMemory.Tables.PassReason.Count <= 16, "PortState.Passed has 16 places");
    }

    private static string Describe()
    {
        StringBuilder text = new();
        foreach (FieldInfo c in typeof(Capacities).GetFields().OrderBy(f => f.Name, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"capacity {c.Name} {c.GetRawConstantValue()}\n");
        }

        foreach (SegmentKind kind in Enum.GetValues<SegmentKind>())
        {
            text.Append(CultureInfo.InvariantCulture, $"kind {kind} {(uint)kind}\n");
        }

        foreach (Type type in SharedStructs())
        {
            text.Append(CultureInfo.InvariantCulture, $"struct {type.Name} {Marshal.SizeOf(type)}\n");
            foreach (FieldInfo f in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
            {
                FixedBufferAttribute? buffer = f.GetCustomAttribute<FixedBufferAttribute>();
                string kind = buffer is null ? f.FieldType.Name : $"{buffer.ElementType.Name}[{buffer.Length}]";
                text.Append(CultureInfo.InvariantCulture, $"  {Marshal.OffsetOf(type, f.Name)} {f.Name} {kind}\n");
            }
        }

        return text.ToString();
    }

    /// <summary>What lies in a segment: plain structs. The readonly ones are views with pointers or words by another name.</summary>
    private static IEnumerable<Type> SharedStructs() =>
        typeof(SegmentHeader).Assembly.GetTypes()
            .Where(t => t.IsValueType && !t.IsEnum && !t.IsGenericType && !t.IsNested && t.IsLayoutSequential
                && t.GetCustomAttribute<IsReadOnlyAttribute>() is null && t.Namespace?.StartsWith("FastPathSync", StringComparison.Ordinal) == true)
            .OrderBy(t => t.Name, StringComparer.Ordinal);

    private static string FirstDifference(string golden, string now)
    {
        string[] a = golden.Split('\n'), b = now.Split('\n');
        int i = 0;
        while (i < a.Length && i < b.Length && a[i] == b[i])
        {
            i++;
        }

        return $"line {i + 1}: was '{a.ElementAtOrDefault(i)}', is '{b.ElementAtOrDefault(i)}'";
    }
}
