//! What `rayward run` needs to be allowed in Kubernetes: what the README lists, and no more.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::stand_in::StandIn;
use crate::support::wait::PATIENCE;

fn rules() -> Value {
    json!([
        {"apiGroups": ["rayward.dev"], "resources": ["rayclusters"], "verbs": ["get", "list", "watch", "patch"]},
        {
            "apiGroups": ["rayward.dev"],
            "resources": ["rayclusters/status", "rayclusters/finalizers"],
            "verbs": ["update"],
        },
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

/// The token of a new service account that may do just this.
async fn token(space: &Space) -> String {
    let (client, name) = (space.client.clone(), space.name.clone());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    let account = json!({"metadata": {"name": "rayward"}});
    let role = json!({"metadata": {"name": name}, "rules": rules()});
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "rayward", "namespace": name}],
    });
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).expect("a request");
    let (params, read) = (PostParams::default(), "it is what its type says");
    let account = serde_json::from_value(account).expect(read);
    accounts.create(&params, &account).await.expect("a service account");
    let role = serde_json::from_value(role).expect(read);
    roles.create(&params, &role).await.expect("a role");
    let binding = serde_json::from_value(binding).expect(read);
    bindings.create(&params, &binding).await.expect("a binding");
    let answer = accounts.create_token_request("rayward", &params, &request).await;
    answer.expect("a token").status.expect("it is answered").token
}

#[tokio::test]
async fn the_rights_that_the_readme_lists_are_enough() {
    let plane = ControlPlane::shared().await;
    let (aws, space) = (StandIn::start(), Space::create(plane).await);
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    plane.write_kubeconfig(&token(&space).await, &kubeconfig);
    let mut controller = Controller::prepare(plane, &aws, &space.name, &[]).with_kubeconfig(&kubeconfig);
    controller.spawn();
    controller.wait_until_ready().await;

    space.ready_lab().await;
    let events = space.events().await;
    assert!(events.iter().any(|event| event.starts_with("VpcCreated")), "{events:?}");

    space.delete("lab").await;
    space.wait_until_gone("lab", PATIENCE).await;
    let log = std::fs::read_to_string(controller.log()).expect("the log");
    assert!(!log.contains("forbidden"), "{log}");
}
