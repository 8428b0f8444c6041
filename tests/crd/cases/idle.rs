//! When a cluster that nobody uses goes down.

use serde_json::{Value, json};

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    vec![
        create(
            "spec.idle.timeout",
            "write a duration in whole hours",
            &json!([
                timeout("90"),
                timeout(""),
                timeout("1.5h"),
                timeout("-90m"),
                timeout("30m1h")
            ]),
            &json!([timeout("90m"), timeout("1h30m"), timeout("1h0m30s"), {"idle": {}}]),
        ),
        create(
            "spec.idle.timeout",
            "write a timeout from 10s",
            &json!([timeout("9s"), timeout("0m"), timeout("720h1s"), timeout("999999h")]),
            &json!([timeout("10s"), timeout("720h"), timeout("43200m")]),
        ),
    ]
}

fn timeout(text: &str) -> Value {
    json!({"idle": {"timeout": text}})
}
