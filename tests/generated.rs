//! What is generated from the code is what the code now generates.

use std::fs;

use crate::support::repository;

#[test]
fn the_crd_is_the_one_that_the_types_make() {
    let path = repository().join("crds/rayclusters.rayward.dev.yaml");
    let kept = fs::read_to_string(&path).expect("the CRD is there");
    let made = rayward::api::crd_yaml().expect("the types make a CRD");
    assert!(
        kept == made,
        "the CRD has drifted: cargo run -- crd > crds/rayclusters.rayward.dev.yaml"
    );
}
