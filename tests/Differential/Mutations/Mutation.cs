namespace FastPathSync.Differential;

/// <summary>A way to break the product: texts in one of its files, each of which must occur there exactly once.</summary>
/// <param name="Project">The program that is built anew: src/PROJECT.</param>
internal sealed record Mutation(string Name, string What, string Project, string File, params (string Old, string New)[] Edits)
{
    /// <summary>Applies it; the text before, to put back.</summary>
    public string Apply(string root)
    {
        string path = Path.Combine(root, File), before = System.IO.File.Exists(path) ? System.IO.File.ReadAllText(path) : throw new HarnessException($"mutation {Name} no longer applies: there is no {File}"), text = before;
        foreach ((string old, string fresh) in Edits)
        {
            int first = text.IndexOf(old, StringComparison.Ordinal);
            if (first < 0 || text.IndexOf(old, first + 1, StringComparison.Ordinal) >= 0)
            {
                throw new HarnessException($"mutation {Name} no longer applies: {File} holds '{old}' {(first < 0 ? "nowhere" : "more than once")}; mend it in tests/Differential/Mutations/Mutations.cs");
            }

            text = text[..first] + fresh + text[(first + old.Length)..];
        }

        System.IO.File.WriteAllText(path, text);
        return before;
    }
}
