// The demotion tests measure reaction times in tens of milliseconds: what loads the kernel beside them would be measured too.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
