namespace FastPathSync.Differential;

/// <summary>The oracle itself can't go on: its two kernels don't do the same, or a tool is missing. Not a finding about the product.</summary>
internal sealed class HarnessException(string message) : Exception(message);
