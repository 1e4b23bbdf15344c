// Labs share the machine's two or so cores: one at a time.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
