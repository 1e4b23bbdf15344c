[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")] // as fpctl itself
