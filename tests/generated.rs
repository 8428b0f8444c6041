//! What is generated from the code is what the code now generates.

use std::fs;
use std::process::Command;

use crate::support::repository;

#[test]
fn the_crd_is_the_one_that_the_types_make() {
    let path = repository().join("crds/rayclusters.rayward.dev.yaml");
    let kept = fs::read_to_string(&path).expect("the CRD is there");
    let printed = Command::new(env!("CARGO_BIN_EXE_rayward")).arg("crd").output();
    let printed = printed.expect("the program starts").stdout;
    let made = String::from_utf8(printed).expect("it prints UTF-8");
    assert!(
        kept == made,
        "the CRD has drifted: cargo run -- crd > crds/rayclusters.rayward.dev.yaml"
    );
}
