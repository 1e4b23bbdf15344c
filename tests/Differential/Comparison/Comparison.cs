namespace FastPathSync.Differential;

/// <summary>What one router sent and the other didn't: multisets per port, everything that is no noise.</summary>
internal sealed record Comparison(List<Emission> OnlyKernel, List<Emission> OnlyProduct)
{
    public bool Equal => OnlyKernel.Count == 0 && OnlyProduct.Count == 0;

    public static Comparison Of(IEnumerable<Emission> kernel, IEnumerable<Emission> product)
    {
        // First bit by bit; what then is left over, with what the kernel leaves to chance out of sight.
        (List<Emission> a, List<Emission> b) = Subtract(kernel, product, e => e.Bytes);
        (a, b) = Subtract(a, b, e => Mask.Of(e.Bytes));
        return new Comparison(a, b);
    }

    private static (List<Emission> A, List<Emission> B) Subtract(IEnumerable<Emission> a, IEnumerable<Emission> b, Func<Emission, byte[]> bytes)
    {
        Dictionary<string, List<Emission>> left = a.GroupBy(e => Key(e, bytes)).ToDictionary(g => g.Key, g => g.ToList());
        List<Emission> onlyB = [];
        foreach (Emission e in b)
        {
            if (left.TryGetValue(Key(e, bytes), out List<Emission>? same) && same.Count > 0)
            {
                same.RemoveAt(same.Count - 1);
            }
            else
            {
                onlyB.Add(e);
            }
        }

        return ([.. left.Values.SelectMany(l => l)], onlyB);
    }

    private static string Key(Emission e, Func<Emission, byte[]> bytes) => $"{e.Port} {Convert.ToHexString(bytes(e))}";
}
