//! The `CustomResourceDefinition`, made from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::RayCluster;

/// The first lines of the generated file.
const HEADER: &str =
    "# Generated from src/api by `cargo run -- crd > crds/rayclusters.rayward.dev.yaml`: change it there.\n";

/// The definition as the API server takes it.
///
/// # Errors
/// When the Rust types make a schema that is no definition, which the tests would show.
pub fn crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(RayCluster::crd())?;
    simplify(&mut definition);
    serde_json::from_value(definition)
}

/// The definition as the text of `crds/rayclusters.rayward.dev.yaml`.
///
/// # Errors
/// As [`crd`].
pub fn crd_yaml() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(format!("{HEADER}{}", serde_yaml::to_string(&crd()?)?))
}

/// Takes away what Rust's types say and Kubernetes has no use for.
///
/// `nullable`: the API server would keep a written null, which `has()` in a rule takes for a value; without it a null
/// reads as left out where the field has a default, and is refused by the field's name where it has none.
/// `format: uint..`: the API server warns of formats that it does not know.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            let unsigned = |format: &Value| format.as_str().is_some_and(|format| format.starts_with("uint"));
            if fields.get("format").is_some_and(unsigned) {
                fields.insert("format".into(), "int64".into());
            }
            fields.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}
