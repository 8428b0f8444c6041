//! What a person can do about a refusal of AWS, by its error code.

use crate::{aws::UNKNOWN_HOST, resources::Kind};

/// Whether EC2 refuses an instance profile: it has no code of its own for that.
pub(super) fn is_of_profile(code: &str, message: &str) -> bool {
    code == "InvalidParameterValue" && message.to_lowercase().contains("iam instance profile")
}

/// One sentence about an error's code and AWS's words, or `None` where AWS's own words say it.
#[must_use]
pub(super) fn advice(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        _ if is_of_profile(code, message) => {
            "write the name of an instance profile of this account that has a role into iamInstanceProfile of \
             spec.head or of the worker group, or make it"
        }
        "UnauthorizedOperation" if message.contains("iam:PassRole") => {
            "allow the AWS identity of the controller iam:PassRole on the role of iamInstanceProfile"
        }
        // Throttling.
        "RequestLimitExceeded" => return None,
        "InsufficientFreeAddressesInSubnet" => "add a subnet with room, or delete what uses the addresses",
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => {
            "ask AWS for a higher quota of running instances in this region, or ask for fewer or smaller machines"
        }
        "TooManyBuckets" => "delete buckets that are not needed, or ask AWS for a higher quota",
        _ if code.ends_with("LimitExceeded") => {
            "delete what is not needed any more in this account and region, or ask AWS for a higher quota"
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" => {
            "allow this call to the AWS identity of the controller"
        }
        "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "ExpiredToken" | "OptInRequired" => {
            "give the controller credentials that are valid for this account, and check spec.region: it has to be a \
             region that is switched on in this account"
        }
        UNKNOWN_HOST => "check spec.region: no such region is known to the DNS of the controller",
        "Gateway.NotAttached" => {
            "attach an internet gateway to the VPC, or choose another spec.head.publicAddress than Elastic"
        }
        "OperationNotPermitted" => "switch off the protection of the machine",
        "Unsupported" => {
            "choose an instance type that this zone offers, a subnet in another zone, or an image that it can boot"
        }
        "InvalidSubnetID.NotFound" | "InvalidGroup.NotFound" | "InvalidVpcID.NotFound" => {
            "if it is in spec.network.existing, write the id of one of this region; else Rayward makes it anew"
        }
        _ if code.starts_with("InvalidAMIID") => "write the id of an image of this region into spec.head.image",
        "ParameterNotFound" => "write an SSM parameter of this region into spec.head.image",
        _ if code.starts_with("InvalidKeyPair") => "write the name of a key pair of this region into spec.keyPair",
        _ => return None,
    })
}

/// Where a person finds what is in the way of deleting something of this kind, where Rayward has not found it.
#[must_use]
pub(crate) fn where_to_look(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Vpc => {
            "look in the VPC console, filtered by this VPC, at endpoints, peering connections, network ACLs, NAT, VPN, \
             carrier and transit gateways, firewalls and service networks"
        }
        Kind::Subnet => {
            "look in the EC2 console under network interfaces, filtered by this subnet; those of load balancers, NAT \
             gateways, endpoints, functions and file systems go with these, and of a shared subnet only their owner \
             sees them"
        }
        Kind::SecurityGroup => {
            "look in the EC2 console under network interfaces and security groups, filtered by this group; a rule in a \
             peered VPC may name it too"
        }
        Kind::InternetGateway => {
            "look in the EC2 console under Elastic IPs and network interfaces, filtered by its VPC: a public address \
             is still mapped"
        }
        Kind::RouteTable => {
            "look in the VPC console at its associations, with subnets and with gateways, and at gateway endpoints"
        }
        Kind::NetworkInterface | Kind::KeyPair | Kind::Address | Kind::Volume | Kind::Instance | Kind::Bucket => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_and_permissions_have_an_advice_and_what_passes_by_itself_has_none() {
        for code in [
            "VcpuLimitExceeded",
            "VpcLimitExceeded",
            "AddressLimitExceeded",
            "TooManyBuckets",
        ] {
            assert!(
                advice(code, "").is_some_and(|advice| advice.contains("quota")),
                "{code}"
            );
        }
        assert!(advice("UnauthorizedOperation", "").is_some_and(|advice| advice.contains("allow")));
        assert_eq!(advice("InternalError", ""), None);
        assert_eq!(advice("RequestLimitExceeded", ""), None);
    }

    #[test]
    fn a_profile_that_ec2_does_not_know_is_told_by_the_field_that_names_it() {
        let words = "Value (lab) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        let told = advice("InvalidParameterValue", words);
        assert!(told.is_some_and(|advice| advice.contains("iamInstanceProfile")));
        assert_eq!(
            advice("InvalidParameterValue", "User data is limited to 16384 bytes"),
            None
        );
        let words = "You are not authorized to perform: iam:PassRole on resource: lab";
        assert!(advice("UnauthorizedOperation", words).is_some_and(|advice| advice.contains("on the role")));
    }

    #[test]
    fn of_everything_that_is_in_a_network_a_person_is_told_where_to_look() {
        use Kind::{InternetGateway, RouteTable, SecurityGroup, Subnet, Vpc};
        for kind in [Vpc, Subnet, SecurityGroup, InternetGateway, RouteTable] {
            assert!(
                where_to_look(kind).is_some_and(|place| place.contains("console")),
                "{kind:?}"
            );
        }
        assert_eq!(where_to_look(Kind::Bucket), None);
    }
}
