//! Which machines are in which subnets.

use serde_json::{Value, json};

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    let existing = json!({"existing": {"vpcId": "vpc-01234567", "subnetIds": ["subnet-01234567"]}});
    let way_out = |head: &Value| {
        let subnets = json!([
            {"name": "private", "cidr": "10.0.1.0/24", "public": false},
            {"name": "public", "cidr": "10.0.2.0/24"},
        ]);
        json!({"network": {"subnets": subnets}, "head": head})
    };
    vec![
        create(
            "spec",
            "write a head.subnet that is the name",
            &json!([
                {"head": {"subnet": "b"}},
                {"network": {"subnets": [{"name": "b", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "a"}},
                {"network": existing, "head": {"subnet": "a"}},
            ]),
            &json!([
                {"head": {"subnet": "a"}},
                {"network": {"subnets": [{"name": "b", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "b"}},
                {
                    "network": existing,
                    "head": {"subnet": "subnet-01234567"},
                },
            ]),
        ),
        create(
            "spec",
            "write workerGroups[].subnets that are",
            &json!([
                {"workerGroups": [{"name": "cpu", "subnets": ["a", "b"]}]},
                {
                    "network": existing,
                    "workerGroups": [{"name": "cpu", "subnets": ["a"]}],
                },
            ]),
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a"]}]}]),
        ),
        create(
            "spec.workerGroups[].subnets",
            "write each subnet once",
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a", "a"]}]}]),
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a"]}, {"name": "gpu", "subnets": ["a"]}]}]),
        ),
        create(
            "spec",
            "write a head.subnet that is public",
            &json!([
                way_out(&json!({"publicAddress": "Elastic"})),
                way_out(&json!({"publicAddress": "Elastic", "subnet": "private"})),
            ]),
            &json!([
                way_out(&json!({"publicAddress": "Elastic", "subnet": "public"})),
                way_out(&json!({"publicAddress": "None"})),
                {"head": {"publicAddress": "Elastic"}},
                {"network": existing, "head": {"publicAddress": "Elastic"}},
            ]),
        ),
    ]
}
