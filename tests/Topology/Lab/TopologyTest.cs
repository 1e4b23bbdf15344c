namespace FastPathSync.Topology;

/// <summary>A test in a lab. When it fails, it prints the commands that lead there and the daemons' last words.</summary>
public abstract class TopologyTest(RouterLab lab) : IDisposable
{
    protected RouterLab Lab { get; } = lab;

    protected LabNamespace Client => Lab.Client;

    protected LabNamespace Router => Lab.Router;

    protected LabNamespace Server => Lab.Server;

    protected Product Product => Lab.Product;

    public virtual void Dispose()
    {
        ExplainFailure(Lab.Lab, Lab.ProductStarted ? Lab.Product : null);
        GC.SuppressFinalize(this);
    }

    /// <summary>To be called when a test ends; says something only when it has failed.</summary>
    public static void ExplainFailure(Lab lab, Product? product)
    {
        TestContext context = TestContext.Current as TestContext ?? throw new InvalidOperationException("no test context");
        if (context.TestState?.Result == TestResult.Failed)
        {
            context.TestOutputHelper?.WriteLine($"To reproduce (FPS_PAUSE=1 leaves the lab up):\n{lab.Transcript}");
            context.TestOutputHelper?.WriteLine(lab.KernelState);
            if (product is not null)
            {
                context.TestOutputHelper?.WriteLine($"{product.Counters()}\n{product.LogTails()}");
            }
        }
    }
}
