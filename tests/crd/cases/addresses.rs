//! Address ranges of VPCs and subnets.

use serde_json::json;

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    let vpc = |cidr: &str| json!({"network": {"vpcCidr": cidr}});
    let vpc_of =
        |vpc: &str, subnet: &str| json!({"network": {"vpcCidr": vpc, "subnets": [{"name": "a", "cidr": subnet}]}});
    let subnet = |cidr: &str| json!({"network": {"subnets": [{"name": "a", "cidr": cidr}]}});
    vec![
        create(
            "spec.network.vpcCidr",
            "write an IPv4 range",
            &json!([
                vpc("10.0.0.0"),
                vpc("10.0.0.0/33"),
                vpc("fd00::/20"),
                vpc("010.0.0.0/16")
            ]),
            &json!([vpc("10.0.0.0/18")]),
        ),
        create(
            "spec.network.vpcCidr",
            "write the range in canonical form",
            &json!([vpc("10.0.0.1/16")]),
            &json!([vpc("10.0.0.0/17")]),
        ),
        create(
            "spec.network.vpcCidr",
            "write a range from /16 to /28",
            &json!([vpc("10.0.0.0/15")]),
            &json!([
                vpc("10.0.0.0/16"),
                {"network": {"vpcCidr": "10.0.0.0/28", "subnets": [{"name": "a", "cidr": "10.0.0.0/28"}]}},
            ]),
        ),
        create(
            "spec.network.vpcCidr",
            "write another range",
            &json!([
                vpc_of("0.9.0.0/16", "0.9.0.0/24"),
                vpc_of("127.0.0.0/16", "127.0.0.0/24"),
                vpc_of("169.254.0.0/20", "169.254.0.0/24"),
                vpc_of("239.255.0.0/16", "239.255.0.0/24"),
            ]),
            &json!([
                vpc_of("100.64.0.0/16", "100.64.0.0/24"),
                vpc_of("169.253.0.0/16", "169.253.0.0/24")
            ]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write an IPv4 range",
            &json!([subnet("10.0.1.0-24"), subnet("fd00::/20")]),
            &json!([subnet("10.0.1.0/25")]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write the range in canonical form",
            &json!([subnet("10.0.1.7/24")]),
            &json!([subnet("10.0.1.0/24")]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write a range from /16 to /28",
            &json!([subnet("10.0.1.0/29")]),
            &json!([subnet("10.0.1.0/28")]),
        ),
    ]
}
