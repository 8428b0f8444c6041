//! The one list of the AWS calls that Rayward can make: limits, metrics, the IAM policy and Events hang on it.

use std::fmt;

use serde::Serialize;

/// An AWS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Elastic Compute Cloud.
    Ec2,
    /// Simple Storage Service.
    S3,
    /// Systems Manager: public image parameters.
    Ssm,
    /// Security Token Service: the account id.
    Sts,
}

impl Service {
    /// Its name in metrics and IAM.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::S3 => "s3",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
        }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// It reads.
    Read,
    /// It changes.
    Change,
    /// It starts machines: EC2 counts these separately.
    Launch,
}

macro_rules! calls {
    ($($service:ident { $($call:ident: $access:ident,)* })*) => {
        /// One AWS call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[allow(missing_docs, reason = "the names are AWS's own")]
        pub enum AwsCall { $($($call,)*)* }

        impl AwsCall {
            /// Every call.
            pub const ALL: &[Self] = &[$($(Self::$call,)*)*];

            /// The service that it is made to.
            #[must_use]
            pub fn service(self) -> Service {
                match self { $($(Self::$call => Service::$service,)*)* }
            }

            /// What it does.
            #[must_use]
            pub fn access(self) -> Access {
                match self { $($(Self::$call => Access::$access,)*)* }
            }

            /// AWS's name of it.
            #[must_use]
            pub fn action(self) -> &'static str {
                match self { $($(Self::$call => stringify!($call),)*)* }
            }
        }
    };
}

calls! {
    Ec2 {
        AllocateAddress: Change,
        AssociateAddress: Change,
        AssociateRouteTable: Change,
        AttachInternetGateway: Change,
        AuthorizeSecurityGroupEgress: Change,
        AuthorizeSecurityGroupIngress: Change,
        CreateInternetGateway: Change,
        CreateRoute: Change,
        CreateRouteTable: Change,
        CreateSecurityGroup: Change,
        CreateSubnet: Change,
        CreateTags: Change,
        CreateVpc: Change,
        DeleteInternetGateway: Change,
        DeleteKeyPair: Change,
        DeleteNetworkInterface: Change,
        DeleteRouteTable: Change,
        DeleteSecurityGroup: Change,
        DeleteSubnet: Change,
        DeleteVolume: Change,
        DeleteVpc: Change,
        DescribeAddresses: Read,
        DescribeEgressOnlyInternetGateways: Read,
        DescribeImages: Read,
        DescribeInstanceStatus: Read,
        DescribeInstances: Read,
        DescribeInternetGateways: Read,
        DescribeKeyPairs: Read,
        DescribeNetworkAcls: Read,
        DescribeNetworkInterfaces: Read,
        DescribeRouteTables: Read,
        DescribeSecurityGroups: Read,
        DescribeSubnets: Read,
        DescribeVolumes: Read,
        DescribeVpcAttribute: Read,
        DescribeVpcEndpoints: Read,
        DescribeVpcPeeringConnections: Read,
        DescribeVpcs: Read,
        DescribeVpnGateways: Read,
        DetachInternetGateway: Change,
        DisassociateAddress: Change,
        DisassociateRouteTable: Change,
        GetConsoleOutput: Read,
        ImportKeyPair: Change,
        ModifySubnetAttribute: Change,
        ModifyVpcAttribute: Change,
        RebootInstances: Change,
        ReleaseAddress: Change,
        ReplaceRoute: Change,
        ReplaceRouteTableAssociation: Change,
        RevokeSecurityGroupIngress: Change,
        RunInstances: Launch,
        StartInstances: Launch,
        StopInstances: Change,
        TerminateInstances: Change,
    }
    S3 {
        AbortMultipartUpload: Change,
        CreateBucket: Change,
        DeleteBucket: Change,
        DeleteObjects: Change,
        GetBucketEncryption: Read,
        GetBucketTagging: Read,
        GetBucketVersioning: Read,
        GetPublicAccessBlock: Read,
        ListBuckets: Read,
        ListMultipartUploads: Read,
        ListObjectVersions: Read,
        PutBucketEncryption: Change,
        PutBucketTagging: Change,
        PutBucketVersioning: Change,
        PutPublicAccessBlock: Change,
    }
    Ssm {
        GetParameter: Read,
    }
    Sts {
        GetCallerIdentity: Read,
    }
}

impl fmt::Display for AwsCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service().name(), self.action())
    }
}
