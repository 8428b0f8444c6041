//! The rules that the API server enforces on a `RayCluster`, in CEL, each with a message that says what to write.
//!
//! A rule is a pair of expression and message; the fields of [`super::RayClusterSpec`] name the rules that hold for
//! them. Rules that compare fields with each other stand at their common parent. An expression that would fail on a
//! value which another rule refuses lets that value pass, so that a person reads one message and not two.
//!
//! What CEL costs is bounded by the lengths below: the API server refuses a CRD whose rules could be too slow.

/// Most characters of an IPv4 range.
pub(super) const CIDR_LENGTH: usize = 18;
/// Most characters of a name of a subnet or worker group; it becomes part of tags.
pub(super) const NAME_LENGTH: usize = 40;
/// Most characters of a bucket's purpose; it becomes part of the bucket's name, which has 63.
pub(super) const PURPOSE_LENGTH: usize = 24;
/// Most characters of an EC2 id: a prefix and 17 hexadecimal digits.
pub(super) const ID_LENGTH: usize = 32;
/// Most characters of regions, zones and instance types.
pub(super) const WORD_LENGTH: usize = 40;
/// Most subnets.
pub(super) const SUBNETS: usize = 16;
/// Most worker groups.
pub(super) const GROUPS: usize = 32;
/// Most instance types of a group.
pub(super) const INSTANCE_TYPES: usize = 16;
/// Most characters of a duration.
pub(super) const DURATION_LENGTH: usize = 24;
/// Most rules of ingress, and most ranges in each.
pub(super) const INGRESS: usize = 32;
/// Most buckets.
pub(super) const BUCKETS: usize = 16;
/// Most tags of the user's: EC2 and S3 allow 50, and eleven are Rayward's.
pub(super) const TAGS: u64 = 39;
/// Most Python packages beside Ray.
pub(super) const PIP_PACKAGES: usize = 32;
/// Most characters of one of them.
pub(super) const PIP_PACKAGE_LENGTH: usize = 200;
/// Most bytes of the user's set-up script. It, the packages, the environment and the flags of Ray have to fit into
/// EC2's 16 KiB of user data with the bootstrap, in base64.
pub(super) const SETUP_SCRIPT_BYTES: usize = 4096;
/// Most environment variables.
pub(super) const ENVIRONMENT: u64 = 64;
/// Most bytes of one of their values, and of all names and values.
pub(super) const ENVIRONMENT_BYTES: u64 = 1024;
/// Most flags of `ray start`.
pub(super) const RAY_START_PARAMS: u64 = 32;
/// Most bytes of one of their values, and of all flags and values.
pub(super) const RAY_START_PARAMS_BYTES: u64 = 512;
/// Most characters of the name of an instance profile.
pub(super) const PROFILE_LENGTH: usize = 128;

/// An expression and what to say where it is false.
pub(super) type Pair = (&'static str, &'static str);

// The cluster as a whole.

pub(super) const CLUSTER_NAME: Pair = (
    "size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "write a name of at most 50 lower-case letters, digits and '-', without dots: it becomes part of names on AWS",
);
pub(super) const REGION: Pair = (
    "self.matches('^[a-z]{2,4}(-[a-z]{2,4})?-(north|south|central|(north|south)?(east|west))-[1-9]$')",
    "write the code of an AWS region, for example ap-southeast-1",
);
pub(super) const REGION_IMMUTABLE: Pair = (
    "self == oldSelf",
    "the region cannot change: write the former one back, and make another cluster in the other region",
);
pub(super) const TAG_KEYS: Pair = (
    r"self.all(k, size(k) <= 128 && k.matches('^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$') && k.matches('[^\\p{Z}]'))",
    "write tag keys of 1 to 128 letters, digits, spaces and _ . : / = + - @, and not of spaces alone",
);
pub(super) const TAG_VALUES: Pair = (
    r"self.all(k, self[k].matches('^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$'))",
    "write tag values of letters, digits, spaces and _ . : / = + - @",
);
pub(super) const TAG_RESERVED: Pair = (
    "self.all(k, !k.lowerAscii().startsWith('aws:') && !k.startsWith('rayward.dev/') && k != 'Name')",
    "write other tag keys: aws:... is AWS's; rayward.dev/... and Name are Rayward's",
);

// Ray and what is on the machines.

pub(super) const RAY_VERSION: Pair = (
    r"self.matches('^[1-9][0-9]{0,2}([.](0|[1-9][0-9]{0,3})){2}(rc[1-9][0-9]?)?$')",
    "write a release of Ray in full, for example 2.60.0",
);
pub(super) const RAY_VERSION_MIN: Pair = (
    "!self.matches('^[0-9]{1,3}[.][0-9]{1,4}[.]') || int(self.split('.')[0]) > 2 \
     || (int(self.split('.')[0]) == 2 && int(self.split('.')[1]) >= 52)",
    "write 2.52.0 or a later release: an earlier Ray does not ask for a token",
);
pub(super) const PIP_PACKAGES_FORM: Pair = (
    "self.all(p, p.matches('^[A-Za-z0-9][ -~]*$'))",
    "write requirements as pip takes them, each one line that begins with a letter or digit: xgboost-cpu, pandas>=2; \
     an option of pip's is an environment variable, for example environment: {PIP_INDEX_URL: ...}",
);
pub(super) const PIP_PACKAGES_RAY: Pair = (
    r"self.all(p, !p.matches('^[Rr][Aa][Yy] *(\\[[^\\]]*\\])? *[=<>!~@(]'))",
    "write ray without a version, with the extras that you need, for example ray[train]: its version is rayVersion",
);
pub(super) const PIP_PACKAGES_SIZE: Pair = (
    "self.map(p, size(p) + 1).sum() <= 1024",
    "write at most 1024 characters of packages; a longer list goes into a package of your own, or into the image",
);
pub(super) const SETUP_SCRIPT_TEXT: Pair = (
    r"self.matches('^[^\\x00-\\x08\\x0b-\\x1f\\x7f]*$')",
    "write text without control characters but tabs and newlines; lines must not end with a carriage return (CR LF)",
);
pub(super) const SETUP_SCRIPT_SIZE: Pair = (
    "size(bytes(self)) <= 4096",
    "write at most 4096 bytes: EC2 takes 16 KiB of user data; a longer script can be fetched by a short one",
);
pub(super) const ENVIRONMENT_NAMES: Pair = (
    "self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
    "write names of environment variables: letters, digits and _, not beginning with a digit",
);
pub(super) const ENVIRONMENT_RESERVED: Pair = (
    "self.all(k, !k.startsWith('RAY_AUTH_') && !(k in ['RAY_enable_autoscaler_v2', 'RAY_ADDRESS']))",
    "leave out RAY_AUTH_..., RAY_enable_autoscaler_v2 and RAY_ADDRESS: Rayward sets them",
);
pub(super) const ENVIRONMENT_VALUES: Pair = (
    r"self.all(k, self[k].matches('^[^\\x00-\\x08\\x0b-\\x1f\\x7f]*$'))",
    "write values without control characters but tabs and newlines",
);
pub(super) const ENVIRONMENT_SIZE: Pair = (
    "self.map(k, size(bytes(k)) + size(bytes(self[k])) + 2).sum() <= 1024",
    "write at most 1024 bytes of names and values: EC2 takes 16 KiB of user data; more goes into the image",
);
pub(super) const RAY_START_PARAMS_FORM: Pair = (
    "self.all(k, k.matches('^[a-z][a-z0-9-]*$'))",
    "write flags of ray start without their dashes, for example num-cpus",
);
pub(super) const RAY_START_PARAMS_RESERVED: Pair = (
    "self.all(k, !(k in ['head', 'address', 'port', 'block', 'node-ip-address', 'labels', 'dashboard-host', \
     'dashboard-port', 'include-dashboard', 'dashboard-agent-listen-port', 'no-monitor', 'autoscaling-config', \
     'help']))",
    "leave out head, address, port, block, node-ip-address, labels, dashboard-host, dashboard-port, include-dashboard, \
     dashboard-agent-listen-port, no-monitor, autoscaling-config and help: Rayward sets them",
);
pub(super) const RAY_START_PARAMS_VALUES: Pair = (
    r"self.all(k, self[k].matches('^[^\\x00-\\x08\\x0b-\\x1f\\x7f]*$'))",
    "write values without control characters but tabs and newlines",
);
pub(super) const RAY_START_PARAMS_SIZE: Pair = (
    "self.map(k, size(bytes(k)) + size(bytes(self[k])) + 4).sum() <= 512",
    "write at most 512 bytes of flags and values: EC2 takes 16 KiB of user data",
);
// The form: "CreateInstanceProfile" in the reference of IAM's API.
pub(super) const PROFILE_NAME: Pair = (
    "self.matches('^[A-Za-z0-9_+=,.@-]+$')",
    "write the name of an instance profile of this account, not its ARN: letters, digits and _ + = , . @ -",
);

// Idle.

pub(super) const DURATION: Pair = (
    "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && size(self) > 0",
    "write a duration in whole hours, minutes and seconds, for example 90m or 1h30m",
);
pub(super) const IDLE_TIMEOUT: Pair = (
    "!self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || size(self) == 0 \
     || (duration(self) >= duration('10s') && duration(self) <= duration('720h'))",
    "write a timeout from 10s to 720h",
);

// The network.

pub(super) const EXISTING_OR_OWN: Pair = (
    "!has(self.existing) || (!has(self.vpcCidr) && !has(self.subnets))",
    "write either existing, or vpcCidr and subnets: an existing network keeps its own ranges",
);
pub(super) const GROUPS_OR_INGRESS: Pair = (
    "!has(self.existing) || !has(self.existing.securityGroupIds) || size(self.existing.securityGroupIds) == 0 || \
     ((!has(self.ingress) || size(self.ingress) == 0) && (!has(self.adminCidrs) || size(self.adminCidrs) == 0))",
    "leave out ingress and adminCidrs, or existing.securityGroupIds: security groups of yours are never changed",
);
pub(super) const EXISTING_IMMUTABLE: Pair = (
    "has(self.existing) == has(oldSelf.existing) && (!has(self.existing) || self.existing == oldSelf.existing)",
    "existing cannot be added, changed or removed: write back what it was; another network needs another cluster",
);
pub(super) const VPC_CIDR_IMMUTABLE: Pair = (
    "(has(self.vpcCidr) ? self.vpcCidr : '10.0.0.0/16') == (has(oldSelf.vpcCidr) ? oldSelf.vpcCidr : '10.0.0.0/16')",
    "vpcCidr cannot change: write back what it was (10.0.0.0/16 if it was left out)",
);
pub(super) const SUBNETS_ONLY_ADDED: Pair = (
    "has(self.existing) || has(oldSelf.existing) \
     || (has(oldSelf.subnets) ? (has(self.subnets) \
     ? oldSelf.subnets.all(o, self.subnets.exists(s, s.name == o.name)) \
     : oldSelf.subnets.all(o, o.name == 'a' && o.cidr == '10.0.1.0/24' && o.public && !has(o.availabilityZone))) \
     : !has(self.subnets) || self.subnets.exists(s, s.name == 'a' && s.cidr == '10.0.1.0/24' && s.public \
     && !has(s.availabilityZone)))",
    "subnets can only be added: write back those that were there (name a, cidr 10.0.1.0/24 if they were left out)",
);
pub(super) const SUBNET_IMMUTABLE: Pair = (
    "self == oldSelf",
    "a subnet cannot change: write back what it was, and add another subnet",
);
pub(super) const SUBNETS_INSIDE: Pair = (
    "!has(self.subnets) || (has(self.vpcCidr) && (!isCIDR(self.vpcCidr) || self.vpcCidr.contains(':'))) \
     || self.subnets.all(s, !isCIDR(s.cidr) || s.cidr.contains(':') \
     || cidr(has(self.vpcCidr) ? self.vpcCidr : '10.0.0.0/16').containsCIDR(s.cidr))",
    "write subnets whose cidr lies inside vpcCidr (10.0.0.0/16 if it is left out)",
);
pub(super) const DEFAULT_SUBNET_INSIDE: Pair = (
    "has(self.subnets) || !has(self.vpcCidr) || !isCIDR(self.vpcCidr) || self.vpcCidr.contains(':') \
     || cidr(self.vpcCidr).containsCIDR('10.0.1.0/24')",
    "write subnets too: the default subnet 10.0.1.0/24 does not lie inside this vpcCidr",
);
pub(super) const SUBNETS_APART: Pair = (
    "!has(self.subnets) || self.subnets.all(a, self.subnets.all(b, a.name == b.name || !isCIDR(a.cidr) || \
     !isCIDR(b.cidr) || !cidr(a.cidr).containsCIDR(b.cidr)))",
    "write subnets that have no address in common",
);
pub(super) const CIDR: Pair = (
    "isCIDR(self) && cidr(self).ip().family() == 4",
    "write an IPv4 range, for example 10.0.0.0/16",
);
pub(super) const CIDR_CANONICAL: Pair = (
    "!isCIDR(self) || self.contains(':') || string(cidr(self).masked()) == self",
    "write the range in canonical form, with zeros after its prefix: 10.0.0.0/16 and not 10.0.0.1/16",
);
pub(super) const CIDR_SIZE: Pair = (
    "!isCIDR(self) || self.contains(':') || (cidr(self).prefixLength() >= 16 && cidr(self).prefixLength() <= 28)",
    "write a range from /16 to /28: AWS has no other VPCs and subnets",
);
// Ranges that no host has an address of: "Special-Purpose IP Address Registries" (RFC 6890), and multicast.
pub(super) const CIDR_OF_HOSTS: Pair = (
    "!isCIDR(self) || self.contains(':') || ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4']\
     .all(none, !cidr(none).containsCIDR(self))",
    "write another range, for example 10.0.0.0/16: in 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16 and 224.0.0.0/4 machines \
     have no addresses",
);
pub(super) const CIDRS: Pair = (
    "self.all(c, isCIDR(c) && cidr(c).ip().family() == 4)",
    "write IPv4 ranges, for example 203.0.113.0/24, or 203.0.113.7/32 for one address",
);
pub(super) const CIDRS_CANONICAL: Pair = (
    "self.all(c, !isCIDR(c) || c.contains(':') || string(cidr(c).masked()) == c)",
    "write ranges in canonical form: 203.0.113.0/24 and not 203.0.113.7/24",
);
pub(super) const PORTS: Pair = (
    "self.matches('^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$') && self.split('-').all(p, int(p) <= 65535)",
    "write one port, for example 8265, or a range, for example 1024-65535, each from 1 to 65535",
);
pub(super) const PORTS_ORDERED: Pair = (
    "!self.matches('^[0-9]{1,5}-[0-9]{1,5}$') || int(self.split('-')[0]) <= int(self.split('-')[1])",
    "write the lower port of the range first",
);
pub(super) const ZONE_IN_REGION: Pair = (
    "!has(self.network.subnets) || self.network.subnets.all(s, !has(s.availabilityZone) || \
     (s.availabilityZone.startsWith(self.region) && \
     s.availabilityZone.substring(size(self.region)).matches('^(-[a-z0-9-]*[0-9])?[a-z]$')))",
    "write an availabilityZone of the cluster's region, for example ap-southeast-1a in ap-southeast-1",
);
pub(super) const VPC_ID: Pair = (
    "self.matches('^vpc-[0-9a-f]{8,17}$')",
    "write the id of a VPC, for example vpc-0123456789abcdef0",
);
pub(super) const SUBNET_IDS: Pair = (
    "self.all(id, id.matches('^subnet-[0-9a-f]{8,17}$'))",
    "write ids of subnets, for example subnet-0123456789abcdef0",
);
pub(super) const SECURITY_GROUP_IDS: Pair = (
    "self.all(id, id.matches('^sg-[0-9a-f]{8,17}$'))",
    "write ids of security groups, for example sg-0123456789abcdef0",
);
pub(super) const IDS_ONCE: Pair = ("self.all(a, self.exists_one(b, b == a))", "write each id once");

// Machines.

pub(super) const NAME: Pair = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "write lower-case letters, digits and '-', with a letter or digit at both ends",
);
pub(super) const KEY_NAME: Pair = (
    "self.matches('^[!-~]([ -~]*[!-~])?$')",
    "write the name of an EC2 key pair: 1 to 255 ASCII characters, without spaces at the ends",
);
pub(super) const INSTANCE_TYPE: Pair = (
    r"self.matches('^[a-z][a-z0-9-]*\\.[a-z0-9-]+$')",
    "write an EC2 instance type, for example t2.medium",
);
pub(super) const INSTANCE_TYPES_FORM: Pair = (
    r"self.all(t, t.matches('^[a-z][a-z0-9-]*\\.[a-z0-9-]+$'))",
    "write EC2 instance types, for example t2.medium",
);
pub(super) const ONE_IMAGE: Pair = (
    "!has(self.id) || !has(self.ssmParameter)",
    "write either id or ssmParameter",
);
pub(super) const IMAGE_ID: Pair = (
    "self.matches('^ami-[0-9a-f]{8,17}$')",
    "write the id of an image, for example ami-003c463c8207b4dfa",
);
pub(super) const SSM_PARAMETER: Pair = (
    "self.matches('^[a-zA-Z0-9_./-]+(:[a-zA-Z0-9_.-]+)?$')",
    "write the name of an SSM parameter, for example \
     /aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
);
pub(super) const VOLUME_MIN: Pair = (
    "self.sizeGiB >= 8",
    "write a sizeGiB of at least 8: Ubuntu's image has a root disk of 8 GiB, and EC2 makes no smaller one from it",
);
// Sizes: "Amazon EBS volume types" in AWS's documentation.
pub(super) const VOLUME_MAX: Pair = (
    "self.sizeGiB <= (self.type == 'gp2' ? 16384 : 65536)",
    "write a sizeGiB of at most 65536 for gp3 and at most 16384 for gp2",
);
pub(super) const HEAD_SUBNET: Pair = (
    "!has(self.head.subnet) || self.head.subnet in (has(self.network.existing) ? self.network.existing.subnetIds : \
     has(self.network.subnets) ? self.network.subnets.map(s, s.name) : ['a'])",
    "write a head.subnet that is the name of an entry of network.subnets, or one of network.existing.subnetIds",
);
pub(super) const GROUP_SUBNETS: Pair = (
    "self.workerGroups.all(g, !has(g.subnets) || g.subnets.all(n, n in (has(self.network.existing) ? \
     self.network.existing.subnetIds : has(self.network.subnets) ? self.network.subnets.map(s, s.name) : ['a'])))",
    "write workerGroups[].subnets that are names of entries of network.subnets, or some of network.existing.subnetIds",
);
pub(super) const GROUP_SUBNETS_ONCE: Pair = ("self.all(a, self.exists_one(b, b == a))", "write each subnet once");
pub(super) const ELASTIC_HAS_WAY_OUT: Pair = (
    "self.head.publicAddress != 'Elastic' || !has(self.network.subnets) || self.network.subnets.all(s, s.public \
     || s.name != (has(self.head.subnet) ? self.head.subnet : self.network.subnets[0].name))",
    "write a head.subnet that is public, or another head.publicAddress: nothing leads from a private subnet to an \
     Elastic one",
);
pub(super) const TOTAL_WORKERS: Pair = (
    "self.map(g, g.replicas).sum() <= 1000",
    "write at most 1000 replicas in all groups together",
);

// Buckets. The forms are those of "Bucket naming rules" in Amazon S3's documentation.

pub(super) const BUCKET_NAME: Pair = (
    r"self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$') && !self.contains('..')",
    "write a bucket name of 3 to 63 lower-case letters, digits, dots and '-', with a letter or digit at both ends and \
     no two dots side by side",
);
pub(super) const BUCKET_NAME_ADDRESS: Pair = (
    r"!self.matches('^[0-9]+(\\.[0-9]+){3}$')",
    "write a bucket name that does not look like an IPv4 address: S3 refuses it",
);
pub(super) const BUCKET_NAME_RESERVED: Pair = (
    "!self.matches('^(xn--|sthree-|amzn-s3-demo-)') && !self.matches('(-s3alias|--ol-s3|[.]mrap|--x-s3|--table-s3)$')",
    "write a bucket name without a beginning or end that S3 keeps for itself: xn--, sthree-, amzn-s3-demo-; -s3alias, \
     --ol-s3, .mrap, --x-s3, --table-s3",
);
pub(super) const BUCKET_NAMES_UNIQUE: Pair = (
    "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && b.name == a.name))",
    "write each bucket name once",
);
pub(super) const BUCKET_NAME_IMMUTABLE: Pair = (
    "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
    "the name of a bucket cannot be added, changed or removed: write back what it was, and add another purpose",
);
