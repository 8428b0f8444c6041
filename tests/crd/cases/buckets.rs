//! Buckets.

use serde_json::json;

use super::{Case, create, update};

pub(super) fn cases() -> Vec<Case> {
    let bucket = |name: &str| json!({"buckets": [{"purpose": "raw", "name": name}]});
    let longest = "b".repeat(63);
    vec![
        create(
            "spec.buckets[].purpose",
            "write lower-case letters",
            &json!([{"buckets": [{"purpose": "Raw Data"}]}, {"buckets": [{"purpose": "raw-"}]}]),
            &json!([{"buckets": [{"purpose": "raw-data"}]}, {"buckets": []}]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name of 3 to 63",
            &json!([
                bucket("ab"),
                bucket("Data"),
                bucket("data_1"),
                bucket("data-"),
                bucket("my..data")
            ]),
            &json!([bucket("my.data-1"), bucket(&longest)]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name that does not look like",
            &json!([bucket("192.168.5.4")]),
            &json!([bucket("192.168.5")]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name without a beginning",
            &json!([
                bucket("xn--data"),
                bucket("sthree-data"),
                bucket("data-s3alias"),
                bucket("data--ol-s3"),
                bucket("data.mrap")
            ]),
            &json!([bucket("data-xn--1"), bucket("s3alias-data"), bucket("datamrap")]),
        ),
        create(
            "spec.buckets",
            "write each bucket name once",
            &json!([{"buckets": [{"purpose": "a", "name": "same"}, {"purpose": "b", "name": "same"}]}]),
            &json!([{"buckets": [{"purpose": "a", "name": "one"}, {"purpose": "b"}, {"purpose": "c"}]}]),
        ),
        update(
            "spec.buckets[]",
            "the name of a bucket cannot",
            &bucket("data-1"),
            &json!([bucket("data-2"), {"buckets": [{"purpose": "raw"}]}]),
            &json!([
                {"buckets": [{"purpose": "raw", "name": "data-1"}, {"purpose": "more", "name": "data-2"}]},
                {"buckets": [{"purpose": "more"}]},
            ]),
        ),
        update(
            "spec.buckets[]",
            "the name of a bucket cannot",
            &json!({"buckets": [{"purpose": "raw"}]}),
            &json!([bucket("data-1")]),
            &json!([{"buckets": [{"purpose": "raw"}]}]),
        ),
    ]
}
