//! What a person can do about a refusal of AWS, by its error code.

/// One sentence, or `None` where AWS's own words say it.
#[must_use]
pub(super) fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        // Throttling.
        "RequestLimitExceeded" => return None,
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
            "give the controller credentials that are valid for this account and region"
        }
        "OperationNotPermitted" => "switch off the protection of the machine",
        "Unsupported" => "choose an instance type that this zone offers, or a subnet in another zone",
        _ if code.starts_with("InvalidAMIID") => "write the id of an image of this region into spec.head.image",
        "ParameterNotFound" => "write an SSM parameter of this region into spec.head.image",
        _ if code.starts_with("InvalidKeyPair") => "write the name of a key pair of this region into spec.keyPair",
        _ => return None,
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
            assert!(advice(code).is_some_and(|advice| advice.contains("quota")), "{code}");
        }
        assert!(advice("UnauthorizedOperation").is_some_and(|advice| advice.contains("allow")));
        assert_eq!(advice("InternalError"), None);
        assert_eq!(advice("RequestLimitExceeded"), None);
    }
}
