using System.Runtime.CompilerServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>RTM_NEWNEXTHOPBUCKET: where one bucket of a resilient group leads (kernel 5.13).</summary>
public readonly record struct NexthopBucketMessage(uint Group, ushort Index, uint Nexthop)
{
    public static bool TryParse(in NetlinkMessage message, out NexthopBucketMessage bucket)
    {
        bucket = default;
        if (message.Type is not (Rtm.RTM_NEWNEXTHOPBUCKET or Rtm.RTM_DELNEXTHOPBUCKET) || !message.TryHeader(out NhMsg _))
        {
            return false;
        }

        uint group = 0, nexthop = 0;
        int index = -1;
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<NhMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            if (a.Type == NexthopConstants.NHA_ID)
            {
                group = a.U32;
            }
            else if (a.Type == NexthopConstants.NHA_RES_BUCKET)
            {
                foreach (NetlinkAttribute b in a.Nested)
                {
                    index = b.Type == NexthopConstants.NHA_RES_BUCKET_INDEX ? b.U16 : index;
                    nexthop = b.Type == NexthopConstants.NHA_RES_BUCKET_NH_ID ? b.U32 : nexthop;
                }
            }
        }

        if (attributes.Malformed || group == 0 || nexthop == 0 || index < 0)
        {
            return false;
        }

        bucket = new NexthopBucketMessage(group, (ushort)index, nexthop);
        return true;
    }

    /// <param name="group">NHA_ID of a resilient group, or 0 for those of all groups.</param>
    public static NetlinkRequest Dump(uint group)
    {
        NetlinkRequest r = new NetlinkRequest().Begin(Rtm.RTM_GETNEXTHOPBUCKET, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, default(NhMsg));
        return group == 0 ? r : r.Attribute(NexthopConstants.NHA_ID, group);
    }
}
