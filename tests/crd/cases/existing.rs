//! A network of the user's.

use serde_json::{Value, json};

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    let (vpc, subnet, group) = (
        "vpc-0123456789abcdef0",
        "subnet-0123456789abcdef0",
        "sg-0123456789abcdef0",
    );
    let with = |name: &str, value: Value| {
        let mut existing = json!({"vpcId": vpc, "subnetIds": [subnet]});
        existing[name] = value;
        json!({"network": {"existing": existing}})
    };
    let beside = |name: &str, value: Value, groups: Value| {
        let mut network = with("securityGroupIds", groups)["network"].clone();
        network[name] = value;
        json!({"network": network})
    };
    vec![
        create(
            "spec.network",
            "write either existing",
            &json!([
                beside("vpcCidr", json!("10.0.0.0/16"), json!([])),
                beside("subnets", json!([{"name": "a", "cidr": "10.0.1.0/24"}]), json!([])),
            ]),
            &json!([with("vpcId", json!(vpc))]),
        ),
        create(
            "spec.network",
            "leave out ingress and adminCidrs",
            &json!([
                beside("adminCidrs", json!(["203.0.113.0/24"]), json!([group])),
                beside(
                    "ingress",
                    json!([{"ports": "80", "cidrs": ["203.0.113.0/24"]}]),
                    json!([group])
                ),
            ]),
            &json!([
                with("securityGroupIds", json!([group])),
                beside("adminCidrs", json!([]), json!([group])),
                beside("adminCidrs", json!(["203.0.113.0/24"]), json!([])),
            ]),
        ),
        create(
            "spec.network.existing.vpcId",
            "write the id of a VPC",
            &json!([with("vpcId", json!("my-vpc"))]),
            &json!([with("vpcId", json!("vpc-01234567"))]),
        ),
        create(
            "spec.network.existing.subnetIds",
            "write ids of subnets",
            &json!([with("subnetIds", json!([subnet, "subnet-x"]))]),
            &json!([with("subnetIds", json!([subnet, "subnet-01234567"]))]),
        ),
        create(
            "spec.network.existing.securityGroupIds",
            "write ids of security groups",
            &json!([with("securityGroupIds", json!(["default"]))]),
            &json!([with("securityGroupIds", json!([group]))]),
        ),
        create(
            "spec.network.existing.subnetIds",
            "write each id once",
            &json!([with("subnetIds", json!([subnet, subnet]))]),
            &json!([with("subnetIds", json!([subnet, "subnet-01234567"]))]),
        ),
        create(
            "spec.network.existing.securityGroupIds",
            "write each id once",
            &json!([with("securityGroupIds", json!([group, "sg-01234567", group]))]),
            &json!([with("securityGroupIds", json!([group, "sg-01234567"]))]),
        ),
    ]
}
