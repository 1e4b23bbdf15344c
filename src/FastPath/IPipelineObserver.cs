using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>
/// Sees what each node made of the vector. As a type argument of Pipeline.Run it is compiled into that; the pipeline without one
/// has no trace of it.
/// </summary>
public interface IPipelineObserver
{
    /// <param name="node">Has just gone over the vector.</param>
    /// <param name="v">As the node left it. In a burst of both families it is the part that is the node's.</param>
    void After(PipelineNode node, in PacketVector v);
}

/// <summary>Nobody looks.</summary>
public readonly struct NoObserver : IPipelineObserver
{
    public void After(PipelineNode node, in PacketVector v)
    {
    }
}
