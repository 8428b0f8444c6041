//! The network that Rayward makes: its subnets, and what of it cannot change.

use serde_json::{Value, json};

use super::{Case, create, update};

pub(super) fn cases() -> Vec<Case> {
    let two = |first: &str, second: &str| {
        let subnets = [
            &json!({"name": "a", "cidr": first}),
            &json!({"name": "b", "cidr": second}),
        ];
        json!({"network": {"subnets": subnets}})
    };
    let zone =
        |zone: &str| json!({"network": {"subnets": [{"name": "a", "cidr": "10.0.1.0/24", "availabilityZone": zone}]}});
    vec![
        create(
            "spec.network",
            "write subnets whose cidr lies inside",
            &json!([
                {"network": {"subnets": [{"name": "a", "cidr": "10.1.0.0/24"}]}},
                {"network": {"vpcCidr": "10.0.0.0/24", "subnets": [{"name": "a", "cidr": "10.0.0.0/23"}]}},
            ]),
            &json!([
                {"network": {"subnets": [{"name": "a", "cidr": "10.0.0.0/16"}]}},
                {"network": {"vpcCidr": "172.16.0.0/20", "subnets": [{"name": "a", "cidr": "172.16.15.0/24"}]}},
            ]),
        ),
        create(
            "spec.network",
            "write subnets too",
            &json!([{"network": {"vpcCidr": "10.9.0.0/16"}}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20"}}]),
        ),
        create(
            "spec.network",
            "write subnets that have no address in common",
            &json!([
                two("10.0.1.0/24", "10.0.1.0/24"),
                two("10.0.0.0/20", "10.0.1.0/24"),
                two("10.0.1.0/28", "10.0.0.0/20")
            ]),
            &json!([two("10.0.1.0/24", "10.0.2.0/24")]),
        ),
        create(
            "spec.network.subnets[].name",
            "write lower-case letters",
            &json!([{"network": {"subnets": [{"name": "A_1", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "A_1"}}]),
            &json!([{"network": {"subnets": [{"name": "a-1", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "a-1"}}]),
        ),
        create(
            "spec",
            "write an availabilityZone of the cluster's region",
            &json!([
                zone("eu-west-1a"),
                zone("ap-southeast-1"),
                zone("ap-southeast-12a"),
                zone("ap-southeast-1A")
            ]),
            &json!([zone("ap-southeast-1a"), zone("ap-southeast-1-bkk-1a")]),
        ),
    ]
}

pub(super) fn updates() -> Vec<Case> {
    let subnets = |subnets: Value| json!({"network": {"subnets": subnets}});
    let (a, b) = (
        json!({"name": "a", "cidr": "10.0.1.0/24"}),
        json!({"name": "b", "cidr": "10.0.2.0/24"}),
    );
    let (first, second) = ("vpc-01234567", "vpc-89abcdef");
    let existing = |vpc: &str| json!({"network": {"existing": {"vpcId": vpc, "subnetIds": ["subnet-01234567"]}}});
    vec![
        update(
            "spec.network",
            "vpcCidr cannot change",
            &json!({"network": {"vpcCidr": "10.0.0.0/20"}}),
            &json!([{"network": {"vpcCidr": "10.0.0.0/21"}}, {}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20", "adminCidrs": ["203.0.113.0/24"]}}]),
        ),
        update(
            "spec.network",
            "vpcCidr cannot change",
            &json!({}),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20"}}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/16"}}]),
        ),
        update(
            "spec.network",
            "existing cannot be added",
            &existing(first),
            &json!([existing(second), {}]),
            &json!([{"network": existing(first)["network"], "suspend": true}]),
        ),
        update(
            "spec.network",
            "existing cannot be added",
            &json!({}),
            &json!([existing(first)]),
            &json!([{"suspend": true}]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &subnets(json!([a, b])),
            &json!([subnets(json!([a])), subnets(json!([b])), {}]),
            &json!([
                subnets(json!([a, b, {"name": "c", "cidr": "10.0.3.0/24"}])),
                subnets(json!([b, a]))
            ]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &subnets(json!([a])),
            &json!([subnets(json!([b]))]),
            // What is left out says the same.
            &json!([{}, {"network": {"vpcCidr": "10.0.0.0/16"}}]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &json!({}),
            &json!([
                subnets(json!([b])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": false}]))
            ]),
            &json!([subnets(json!([a])), subnets(json!([a, b]))]),
        ),
        update(
            "spec.network.subnets[]",
            "a subnet cannot change",
            &subnets(json!([a])),
            &json!([
                subnets(json!([{"name": "a", "cidr": "10.0.2.0/24"}])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": false}])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "availabilityZone": "ap-southeast-1a"}])),
            ]),
            &json!([subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": true}]))]),
        ),
    ]
}
