using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("FastPathSync.CacheManager.Tests")]
