//! One rule of a security group: EC2 tells several of them in one `IpPermission`.

use std::{collections::BTreeSet, fmt};

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use serde::Serialize;

/// Who may come in by what, or be reached by what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Rule {
    /// EC2's name or number of the protocol; `-1` is all.
    pub protocol: String,
    /// First and last port (of ICMP: type and code); `None` is all.
    pub ports: Option<(i32, i32)>,
    /// Who.
    pub peer: Peer,
}

/// Who is on the other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Peer {
    /// An IPv4 address range.
    Cidr(String),
    /// An IPv6 address range.
    CidrV6(String),
    /// A list of address ranges.
    PrefixList(String),
    /// Machines of a group.
    Group {
        /// Id of the group.
        id: String,
        /// The account of the group, where it is another one.
        account: Option<String>,
    },
}

impl Peer {
    /// All of IPv4.
    #[must_use]
    pub fn everywhere() -> Self {
        Self::Cidr("0.0.0.0/0".into())
    }
}

impl Rule {
    /// All protocols and ports.
    #[must_use]
    pub fn everything(peer: Peer) -> Self {
        Self {
            protocol: "-1".into(),
            ports: None,
            peer,
        }
    }

    /// TCP ports.
    #[must_use]
    pub fn tcp(from: u16, to: u16, peer: Peer) -> Self {
        Self {
            protocol: "tcp".into(),
            ports: Some((from.into(), to.into())),
            peer,
        }
    }

    pub(super) fn to_sdk(&self) -> IpPermission {
        let (from, to) = self.ports.unzip();
        let permission = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(from)
            .set_to_port(to);
        match &self.peer {
            Peer::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).description(DESCRIPTION).build()),
            Peer::CidrV6(cidr) => {
                permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).description(DESCRIPTION).build())
            }
            Peer::PrefixList(id) => permission.prefix_list_ids(
                PrefixListId::builder()
                    .prefix_list_id(id)
                    .description(DESCRIPTION)
                    .build(),
            ),
            Peer::Group { id, account } => permission.user_id_group_pairs(
                UserIdGroupPair::builder()
                    .group_id(id)
                    .set_user_id(account.clone())
                    .description(DESCRIPTION)
                    .build(),
            ),
        }
        .build()
    }
}

/// What stands on every rule of ours; EC2 does not compare it when rules are taken away.
const DESCRIPTION: &str = "By Rayward, from the RayCluster";

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol.as_str() {
            "-1" => f.write_str("all")?,
            protocol => f.write_str(protocol)?,
        }
        match self.ports {
            Some((from, to)) if from == to => write!(f, " {from}")?,
            Some((from, to)) => write!(f, " {from}-{to}")?,
            None => {}
        }
        match &self.peer {
            Peer::Cidr(peer) | Peer::CidrV6(peer) | Peer::PrefixList(peer) | Peer::Group { id: peer, .. } => {
                write!(f, " {peer}")
            }
        }
    }
}

/// The rules in `permissions` of a group whose account is `owner`.
pub(super) fn from_sdk(permissions: &[IpPermission], owner: &str) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for permission in permissions {
        let ports = permission.from_port().zip(permission.to_port());
        let v4 = permission
            .ip_ranges()
            .iter()
            .filter_map(IpRange::cidr_ip)
            .map(|cidr| Peer::Cidr(cidr.into()));
        let v6 = permission.ipv6_ranges().iter().filter_map(Ipv6Range::cidr_ipv6);
        let lists = permission
            .prefix_list_ids()
            .iter()
            .filter_map(PrefixListId::prefix_list_id);
        let groups = permission.user_id_group_pairs().iter().filter_map(|pair| {
            Some(Peer::Group {
                id: pair.group_id()?.into(),
                account: pair.user_id().filter(|account| *account != owner).map(Into::into),
            })
        });
        let peers = v4
            .chain(v6.map(|cidr| Peer::CidrV6(cidr.into())))
            .chain(lists.map(|id| Peer::PrefixList(id.into())))
            .chain(groups);
        rules.extend(peers.map(|peer| Rule {
            protocol: permission.ip_protocol().unwrap_or("-1").into(),
            ports,
            peer,
        }));
    }
    rules
}
