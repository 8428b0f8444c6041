//! The cluster as a whole: name, region, tags.

use serde_json::json;

use super::{Case, create, named, update};

pub(super) fn cases() -> Vec<Case> {
    let (long, longest) = ("x".repeat(51), "x".repeat(50));
    vec![
        Case {
            at: "",
            says: "write a name of at most 50",
            before: None,
            refused: named(&["with.dot", &long]),
            allowed: named(&["lab-2", &longest]),
        },
        create(
            "spec.region",
            "write the code of an AWS region",
            &json!([
                {"region": "Singapore"},
                {"region": "ap-southeast-1a"},
                {"region": "ap-southeast-11"},
                {"region": "ap-southest-1"},
                {"region": "ap-southeast1"},
                {"region": ""},
            ]),
            &json!([
                {"region": "us-gov-west-1"},
                {"region": "us-isob-east-1"},
                {"region": "eusc-de-east-1"},
                {"region": "cn-northwest-1"},
                {"region": "eu-central-2"},
            ]),
        ),
        update(
            "spec.region",
            "the region cannot change",
            &json!({}),
            &json!([{"region": "eu-west-1"}]),
            &json!([{"suspend": true}]),
        ),
        create(
            "spec.tags",
            "write tag keys of 1 to 128",
            &json!([
                {"tags": {"team;": "a"}},
                {"tags": {"k".repeat(129): "a"}},
                {"tags": {"": "a"}},
                {"tags": {"\u{a0} ": "a"}},
            ]),
            &json!([{"tags": {"cost center/Zürich": "a"}}, {"tags": {"k".repeat(128): "a"}}]),
        ),
        create(
            "spec.tags",
            "write tag values of",
            &json!([{"tags": {"team": "a;b"}}]),
            &json!([{"tags": {"team": "data + science", "empty": ""}}]),
        ),
        create(
            "spec.tags",
            "write other tag keys",
            &json!([{"tags": {"Name": "a"}}, {"tags": {"rayward.dev/role": "head"}}, {"tags": {"AWS:x": "a"}}]),
            &json!([{"tags": {"name": "a", "example.com/rayward.dev/x": "a"}}]),
        ),
    ]
}
