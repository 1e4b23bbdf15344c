using System.Net;
using FastPathSync.SharedMemory.Tables;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

/// <summary>Random rules and routes come and go; after each change random packets are asked of the product and of the model.</summary>
public sealed class RulePropertyTests
{
    private static readonly string[] s_ports = ["r0", "r1"], s_interfaces = ["r0", "r1", "lo", "nowhere"];
    private static readonly uint[] s_tables = [255, 254, 253, 100, 101, 102];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void TheWalkIsTheKernels(int seed)
    {
        Random random = new(seed);
        using RuleLab lab = new();
        RuleModel model = new();
        for (byte way = 1; way < 20; way++)
        {
            lab.Tables.Neighbour($"10.2.0.{way}", mac: way);
        }

        foreach (Wire.Rule born in (Wire.Rule[])[RuleLab.Lookup(0, 255), RuleLab.Lookup(32766, 254), RuleLab.Lookup(32767, 253)])
        {
            Add(born);
        }

        // What Tables.Standard has put there.
        model.Routes.Add(new ModelRoute(254, Tables.Ip("10.1.0.0"), 24, 1, 0));
        model.Routes.Add(new ModelRoute(254, Tables.Ip("10.2.0.0"), 24, 1, 0));
        string log = "";
        for (int step = 0; step < 400; step++)
        {
            log += Change() + "\n";
            for (int packet = 0; packet < 30; packet++)
            {
                RuleKey key = Packet();
                string expected = model.Lookup(key, p => s_ports[p]), found = lab.Ask(key);
                bool linux = found is "punt local" && IsHidden((uint)(key.Destination.High >> 32)) || (found, expected) is ("punt throw", "punt no-route");
                Assert.True(
                    expected == found || linux,
                    $"seed {seed} step {step}: {Text(key)}: the kernel says {expected}, we say {found}\nrules:\n{string.Join("\n", model.Rules)}\nroutes:\n{string.Join("\n", model.Routes)}");
            }
        }

        // A kernel without rules of its own might forward what a short local prefix covers; a walk without local first doesn't matter then.
        bool IsHidden(uint address) => lab.List4.IsDefault && model.Routes.Any(r => r.Table == 255 && r.Length < 32 && (r.Destination ^ address) >> (32 - r.Length) == 0);

        string Change()
        {
            switch (random.Next(6))
            {
                case 0 or 1 when model.Rules.Count < 14:
                    Wire.Rule rule = Rule();
                    if (!model.Rules.Contains(rule))
                    {
                        Add(rule);
                    }

                    return $"+ {rule}";
                case 2 when model.Rules.Count > 3 || random.Next(10) == 0:
                    Wire.Rule gone = model.Rules.Count == 0 ? RuleLab.Lookup(1, 1) : model.Rules[random.Next(model.Rules.Count)];
                    model.Rules.Remove(gone);
                    lab.Delete(gone);
                    return $"- {gone}";
                case 5 when model.Routes.Count > 2:
                    ModelRoute r = model.Routes[random.Next(2, model.Routes.Count)];
                    model.Routes.Remove(r);
                    lab.Tables.NoRoute(Tables.Key(Prefix(r.Destination, r.Length), table: r.Table));
                    return $"- {r}";
                default:
                    ModelRoute route = Route();
                    model.Routes.RemoveAll(o => o.Table == route.Table && o.Destination == route.Destination && o.Length == route.Length);
                    model.Routes.Add(route);
                    Wire.Route wire = new() { Key = Tables.Key(Prefix(route.Destination, route.Length), table: route.Table), Type = route.Type };
                    if (route.Way != 0)
                    {
                        wire.Nexthops.Add(Tables.Via($"10.2.0.{route.Way}"));
                    }

                    lab.Tables.Route(wire);
                    return $"+ {route}";
            }
        }

        void Add(Wire.Rule rule)
        {
            int at = model.Rules.FindIndex(r => r.Priority > rule.Priority);
            model.Rules.Insert(at < 0 ? model.Rules.Count : at, rule);
            lab.Add(rule);
        }

        Wire.Rule Rule()
        {
            uint[] actions = [1, 1, 1, 1, 2, 3, 6, 7, 8];
            Wire.Rule r = new() { Family = 2, Priority = Priority(), Action = actions[random.Next(actions.Length)], Invert = random.Next(6) == 0 };
            r.Table = r.Action == 1 ? s_tables[random.Next(s_tables.Length)] : 0;
            r.Target = r.Action == 2 ? Priority() : 0;
            if (r.Action == 2 && r.Target <= r.Priority)
            {
                r.Target = r.Priority + 10; // the kernel takes no other
            }

            Maybe(3, () => (r.Source, r.SourceLength) = Selector("10.1.0.0", 16));
            Maybe(3, () => (r.Destination, r.DestinationLength) = Selector("10.8.0.0", 13));
            Maybe(6, () => r.Iif = s_interfaces[random.Next(s_interfaces.Length)]);
            Maybe(20, () => r.Oif = "r1");
            Maybe(12, () => r.Fwmark = (uint)random.Next(4));
            Maybe(12, () => r.Fwmask = (uint)random.Next(4));
            Maybe(15, () => (r.UidFirst, r.UidLast) = ((uint)random.Next(2), 5));
            Maybe(8, () => r.Tos = (uint)random.Next(64) << 2);
            Maybe(10, () => r.Dscp = (uint)random.Next(8));
            Maybe(8, () => r.IpProtocol = (uint)(random.Next(2) == 0 ? 6 : 17));
            Maybe(8, () => r.SourcePorts = Ports());
            Maybe(8, () => r.DestinationPorts = Ports());
            Maybe(25, () => r.Unknown = 77);
            if (r.Action == 1)
            {
                Maybe(4, () => r.SuppressPrefixLength = (uint)(random.Next(3) * 8));
            }

            return r;
        }

        uint Priority() => (uint)random.Next(1, 12) * 10;

        Wire.RulePorts Ports()
        {
            uint first = (uint)random.Next(1, 6);
            return random.Next(3) == 0 ? new Wire.RulePorts { First = first, Last = first, Mask = 3 } : new Wire.RulePorts { First = first, Last = first + (uint)random.Next(3) };
        }

        void Maybe(int oneIn, Action act)
        {
            if (random.Next(oneIn) == 0)
            {
                act();
            }
        }

        (ByteString, uint) Selector(string around, int atLeast)
        {
            int length = random.Next(4) == 0 ? random.Next(1, 9) : atLeast + random.Next(33 - atLeast);
            uint address = (Tables.Ip(around) | ((uint)random.Next(4) << 8) | (uint)random.Next(4)) & (uint)(-1L << (32 - length));
            return (Tables.Bytes(Text4(address)), (uint)length);
        }

        ModelRoute Route()
        {
            uint table = s_tables[random.Next(s_tables.Length)];
            int length = random.Next(5) == 0 ? 0 : 13 + random.Next(20);
            bool local = table == 255;
            uint[] types = local ? [2] : [1, 1, 1, 1, 2, 6, 7, 8, 9];
            length = local && random.Next(5) > 0 ? 32 : local ? 20 + random.Next(12) : length;
            uint type = types[random.Next(types.Length)];
            uint destination = length == 0 ? 0 : Destination() & (uint)(-1L << (32 - length));
            return new ModelRoute(table, destination, length, type, type == 1 ? (byte)random.Next(1, 20) : (byte)0);
        }

        uint Destination() => Tables.Ip("10.8.0.0") + ((uint)random.Next(3) << 16) + ((uint)random.Next(3) << 8) + (uint)random.Next(4);

        RuleKey Packet() => new()
        {
            Destination = FibKey.Ipv4(Destination()),
            Source = FibKey.Ipv4(Tables.Ip("10.1.0.0") + ((uint)random.Next(4) << 8) + (uint)random.Next(4)),
            InputPort = (ushort)random.Next(2),
            Dscp = (byte)random.Next(256),
            Protocol = (byte)(random.Next(2) == 0 ? 6 : 17),
            SourcePort = (ushort)random.Next(9),
            DestinationPort = (ushort)random.Next(9),
        };
    }

    private static string Prefix(uint destination, int length) => $"{Text4(destination)}/{length}";

    private static string Text4(uint address) => new IPAddress([(byte)(address >> 24), (byte)(address >> 16), (byte)(address >> 8), (byte)address]).ToString();

    private static string Text(RuleKey k) =>
        $"{Text4((uint)(k.Source.High >> 32))} > {Text4((uint)(k.Destination.High >> 32))} port {k.InputPort} tos 0x{k.Dscp:x} proto {k.Protocol} {k.SourcePort} > {k.DestinationPort}";
}
