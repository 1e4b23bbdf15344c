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
        //CompiledCode.Prepare(typeof(CompiledCodeTests).Assembly);
        _ = CompiledInThisThread();
        long before = CompiledInThisThread();

        int answer = CalledOnlyHere(41);

        Assert.Equal(before, CompiledInThisThread());
        Assert.Equal(42, answer);
    }

    private static long CompiledInThisThread() => JitInfo.GetCompiledMethodCount(currentThread: true);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int CalledOnlyHere(int n) => n + 1;
}
