using System.Reflection;
using System.Runtime.CompilerServices;

namespace FastPathSync.FastPath.Worker;

/// <summary>
/// Compiles what the ahead-of-time image lacks (code with vector instructions, mostly) before it is first needed: compiled
/// at the first packet, it holds up the worker for some 10 ms while packets pile up in the RX ring.
/// </summary>
internal static class CompiledCode
{
    private const BindingFlags All =
        BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private const MethodAttributes Elsewhere = MethodAttributes.Abstract | MethodAttributes.PinvokeImpl;
    private const MethodImplAttributes ByTheRuntime = MethodImplAttributes.InternalCall | MethodImplAttributes.Runtime;

    /// <summary>All methods of the assemblies that can be compiled without knowing type arguments.</summary>
    public static void Prepare(params ReadOnlySpan<Assembly> assemblies)
    {
        foreach (Assembly assembly in assemblies)
        {
            foreach (Type type in assembly.GetTypes())
            {
                if (!type.ContainsGenericParameters)
                {
                    Prepare(type);
                }
            }
        }
    }

    private static void Prepare(Type type)
    {
        foreach (MethodBase method in (MethodBase[])[.. type.GetMethods(All), .. type.GetConstructors(All).Where(c => !c.IsStatic)])
        {
            if (!method.ContainsGenericParameters && (method.Attributes & Elsewhere) == 0 && (method.MethodImplementationFlags & ByTheRuntime) == 0)
            {
                RuntimeHelpers.PrepareMethod(method.MethodHandle);
            }
        }
    }
}
