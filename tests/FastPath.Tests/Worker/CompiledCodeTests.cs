using System.Runtime;
using System.Runtime.CompilerServices;
using FastPathSync.FastPath.Worker;
using Xunit;

namespace FastPathSync.FastPath.Tests.Worker;

public sealed class CompiledCodeTests
{
    [Fact]
    public void WhatWasPreparedIsNotCompiledWhenItIsCalled()
    {
        CompiledCode.Prepare(typeof(CompiledCodeTests).Assembly);
        _ = CompiledInThisThread();
        long before = CompiledInThisThread();

        int depth = CalledOnlyHere.A();

        // The runtime may compile a method of its own meanwhile, but not these eight.
        Assert.InRange(CompiledInThisThread() - before, 0, 4);
        Assert.Equal(8, depth);
    }

    private static long CompiledInThisThread() => JitInfo.GetCompiledMethodCount(currentThread: true);

    private static class CalledOnlyHere
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static int A() => 1 + B();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int B() => 1 + C();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int C() => 1 + D();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int D() => 1 + E();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int E() => 1 + F();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int F() => 1 + G();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int G() => 1 + H();

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static int H() => 1;
    }
}
