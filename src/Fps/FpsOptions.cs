namespace FastPathSync.Fps;

internal sealed class FpsOptions
{
    public TimeSpan Interval { get; set; } = TimeSpan.FromSeconds(1);
}
