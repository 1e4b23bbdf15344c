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
        TestContext context = TestContext.Current as TestContext ?? throw new InvalidOperationException("no test context");
        if (context.TestState?.Result == TestResult.Failed)
        {
            context.TestOutputHelper?.WriteLine($"To reproduce (FPS_PAUSE=1 leaves the lab up):\n{Lab.Lab.Transcript}");
            if (Lab.ProductStarted)
            {
                context.TestOutputHelper?.WriteLine(Lab.Product.LogTails());
            }
        }

        GC.SuppressFinalize(this);
    }
}
