//! What is open from outside: ports, and from where.

use serde_json::{Value, json};

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    let admin = |cidrs: Value| json!({"network": {"adminCidrs": cidrs}});
    let ingress = |cidrs: Value| json!({"network": {"ingress": [{"ports": "80", "cidrs": cidrs}]}});
    let ports = |ports: &str| json!({"network": {"ingress": [{"ports": ports, "cidrs": ["203.0.113.0/24"]}]}});
    vec![
        create(
            "spec.network.adminCidrs",
            "write IPv4 ranges",
            &json!([admin(json!(["203.0.113.7"])), admin(json!(["203.0.113.0/24", "::/0"]))]),
            &json!([admin(json!(["203.0.113.7/32", "0.0.0.0/0"]))]),
        ),
        create(
            "spec.network.adminCidrs",
            "write ranges in canonical form",
            &json!([admin(json!(["203.0.113.7/24"]))]),
            &json!([admin(json!(["203.0.113.0/24"]))]),
        ),
        create(
            "spec.network.ingress[].cidrs",
            "write IPv4 ranges",
            &json!([ingress(json!(["everywhere"]))]),
            &json!([ingress(json!(["0.0.0.0/0"]))]),
        ),
        create(
            "spec.network.ingress[].cidrs",
            "write ranges in canonical form",
            &json!([ingress(json!(["10.0.0.0/8", "10.1.0.0/8"]))]),
            &json!([ingress(json!(["10.0.0.0/8"]))]),
        ),
        create(
            "spec.network.ingress[].ports",
            "write one port",
            &json!([
                ports("http"),
                ports("0"),
                ports("080"),
                ports("65536"),
                ports("1-"),
                ports("1-70000"),
                ports("1-2-3")
            ]),
            &json!([ports("8265"), ports("1024-65535"), ports("80-80")]),
        ),
        create(
            "spec.network.ingress[].ports",
            "write the lower port",
            &json!([ports("6382-6379")]),
            &json!([ports("6379-6382")]),
        ),
    ]
}
