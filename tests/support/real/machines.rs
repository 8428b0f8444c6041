//! What a test does to machines that run, by the stand-in's control endpoint.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::stand_in::StandIn;

/// What a command did in a machine.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl StandIn {
    /// Runs a script in a machine, as root.
    pub(crate) fn run_in(&self, instance: &str, script: &str) -> Result<Done, String> {
        let body = json!({"command": ["sh", "-c", script], "seconds": 20});
        let done = self.try_control(&format!("machines/{instance}/exec"), &body)?;
        serde_json::from_value(done).map_err(|error| error.to_string())
    }

    /// What a script says in a machine; it has to succeed.
    pub(crate) fn told_in(&self, instance: &str, script: &str) -> String {
        let done = self
            .run_in(instance, script)
            .unwrap_or_else(|error| panic!("{script}: {error}"));
        assert_eq!(done.code, 0, "{script}: {done:?}");
        done.stdout
    }

    /// Pulls the cable of a machine.
    pub(crate) fn pull_cable(&self, instance: &str) {
        self.try_control(&format!("machines/{instance}/cable"), &json!({"plugged": false}))
            .expect("the machine has a cable");
    }

    /// Stops the time of a machine, or lets it go on.
    pub(crate) fn freeze(&self, instance: &str, frozen: bool) {
        self.try_control(&format!("machines/{instance}/freeze"), &json!({"frozen": frozen}))
            .expect("the machine runs");
    }

    /// Leaves no space on the disk of a machine, or as much again as before.
    pub(crate) fn fill_disk(&self, instance: &str, full: bool) {
        self.try_control(&format!("machines/{instance}/fill-disk"), &json!({"full": full}))
            .expect("the machine has a disk");
    }

    /// Makes a role and an instance profile of this name, whose keys open what the stand-in has.
    pub(crate) fn make_profile_with_role(&self, name: &str) {
        for (action, more) in [
            ("CreateRole", format!("RoleName={name}&AssumeRolePolicyDocument=%7B%7D")),
            ("CreateInstanceProfile", format!("InstanceProfileName={name}")),
            (
                "AddRoleToInstanceProfile",
                format!("InstanceProfileName={name}&RoleName={name}"),
            ),
        ] {
            self.iam(&format!("Action={action}&Version=2010-05-08&{more}"));
        }
    }
}

/// The machines of a stand-in, as its control endpoint tells them.
pub(crate) fn listed(aws: &StandIn) -> Vec<Value> {
    let told = aws.control_json("machines");
    told["machines"].as_array().cloned().unwrap_or_default()
}
