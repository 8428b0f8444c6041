//! The stand-in for AWS as a process of its own, and a client of its control endpoint.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::light::machine::{Account, Machine};
use super::light::{Light, Shining};
use super::process::{Output, Process, command};
use super::public_range::PublicRange;
use super::wait::{PATIENCE, until};
use super::{logs, python, repository, test_name};

/// The region that clusters of the tests are in.
pub(crate) const REGION: &str = "ap-southeast-1";

/// What stands in for AWS: EC2, S3, SSM and STS on one loopback address. Ends when dropped. Its machines answer, too:
/// they are light (see [`super::light`]), unless it boots real ones.
pub(crate) struct StandIn {
    /// `None` beside machines that boot: before those answer, nobody may in their place.
    light: Option<Shining>,
    process: Process,
    url: String,
    calls_log: PathBuf,
    agent: ureq::Agent,
    // Given back when its machines are gone.
    _public_range: PublicRange,
}

/// The line that it prints when it answers.
#[derive(Deserialize)]
struct Ready {
    url: String,
}

/// One AWS call, as the stand-in recorded it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Call {
    /// Its place in the order in which the calls ended.
    pub(crate) seq: u64,
    /// When it came in, in seconds.
    pub(crate) began: f64,
    /// When it was answered, in seconds.
    pub(crate) ended: f64,
    pub(crate) service: String,
    pub(crate) action: String,
    /// Whether it is of a kind that changes something.
    pub(crate) change: bool,
    pub(crate) params: Value,
    /// The ids in its answer.
    pub(crate) ids: Vec<String>,
    /// `None`: the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
}

impl StandIn {
    /// Starts one for the running test; it is empty.
    pub(crate) fn start() -> Self {
        Self::start_with(&test_name(), &[])
    }

    /// Starts one with further arguments; its log goes to `target/test-logs/<name>`.
    pub(crate) fn start_with(name: &str, arguments: &[&str]) -> Self {
        let logs = logs(name);
        let calls_log = logs.join("aws-calls.jsonl");
        let public_range = PublicRange::take();
        let mut program = command(python());
        program
            .args(["-m", "standin", "--port", "0", "--log"])
            .arg(&calls_log)
            .args(["--public-range", &public_range.cidr()])
            .args(arguments)
            .env("PYTHONPATH", repository().join("deploy/sandbox/aws"));
        let mut process = Process::spawn("stand-in", &logs, program, Output::Piped);
        let mut line = String::new();
        // The line comes when it answers; the pipe closes when it ends.
        BufReader::new(process.stdout())
            .read_line(&mut line)
            .expect("the stand-in's output can be read");
        let ready: Ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the stand-in does not start: {error}\n{}", process.log_tail()));
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let control = Control {
            url: ready.url.clone(),
            agent: agent.clone(),
        };
        Self {
            light: (!arguments.contains(&"--machines")).then(|| Light::shine(control)),
            process,
            url: ready.url,
            calls_log,
            agent,
            _public_range: public_range,
        }
    }

    /// Where it answers: a value for `AWS_ENDPOINT_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The machines: what a test does to them, and asks of them.
    pub(crate) fn light(&self) -> &Light {
        self.light.as_ref().expect("the machines are light")
    }

    /// All calls so far, in the order in which they ended.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls_since(0)
    }

    /// The calls that ended after the one with this number.
    pub(crate) fn calls_since(&self, seq: u64) -> Vec<Call> {
        #[derive(Deserialize)]
        struct Calls {
            calls: Vec<Call>,
        }
        let response = self.agent.get(self.control(&format!("calls?since={seq}"))).call();
        self.read::<Calls>(response).calls
    }

    /// The calls so far that change something.
    pub(crate) fn changes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.change);
        calls
    }

    /// Waits until `count` further calls of an action were answered or refused: evidence that the caller went on.
    pub(crate) async fn further_calls(&self, action: &str, count: usize) {
        let seen = self.calls().last().map_or(0, |call| call.seq);
        until(&format!("{count} further calls of {action}"), PATIENCE, async || {
            let calls = self.calls_since(seen);
            let found = calls.iter().filter(|call| call.action == action).count();
            if found >= count {
                Ok(())
            } else {
                Err(format!("{found} in {} calls", calls.len()))
            }
        })
        .await;
    }

    /// Waits until a call of this action was answered without an error.
    pub(crate) async fn first_success(&self, action: &str) {
        until(&format!("{action} succeeds"), PATIENCE, async || {
            let calls = self.changes();
            let is_it = |call: &Call| call.action == action && call.error.is_none();
            if calls.iter().any(is_it) {
                Ok(())
            } else {
                let done: Vec<_> = calls.into_iter().map(|call| (call.action, call.error)).collect();
                Err(format!("{done:?}"))
            }
        })
        .await;
    }

    /// Forgets the calls.
    pub(crate) fn forget_calls(&self) {
        let response = self.agent.delete(self.control("calls")).call();
        self.read::<Value>(response);
    }

    /// Adds a fault, such as `{"action": "RunInstances", "kind": "capacity", "times": 2}`, and returns its id. The
    /// stand-in's README lists kinds and fields; what it does not know it refuses.
    pub(crate) fn inject(&self, fault: &Value) -> String {
        #[derive(Deserialize)]
        struct Added {
            id: String,
        }
        let response = self.agent.post(self.control("faults")).send_json(fault);
        self.read::<Added>(response).id
    }

    /// How often a fault has fired.
    pub(crate) fn fired(&self, fault: &str) -> u64 {
        let response = self.agent.get(self.control("faults")).call();
        let faults = self.read::<Value>(response);
        let listed = faults["faults"].as_array().into_iter().flatten();
        listed
            .filter(|each| each["id"] == fault)
            .find_map(|each| each["fired"].as_u64())
            .expect("the fault is listed")
    }

    /// Waits until a fault has fired: a call that it delays is on its way then.
    pub(crate) async fn until_fired(&self, fault: &str) {
        until("the fault has fired", PATIENCE, async || match self.fired(fault) {
            0 => Err(format!("{:?}", self.changes().last())),
            _ => Ok(()),
        })
        .await;
    }

    /// Removes all faults.
    pub(crate) fn clear_faults(&self) {
        let response = self.agent.delete(self.control("faults")).call();
        self.read::<Value>(response);
    }

    /// Changes settings, such as `{"delay_ms": 200}`; `standin/settings.py` lists them.
    pub(crate) fn set(&self, settings: &Value) {
        let response = self.agent.put(self.control("settings")).send_json(settings);
        self.read::<Value>(response);
    }

    /// Makes an instance's status checks say something, such as `{"instance": "impaired"}`.
    pub(crate) fn set_status_checks(&self, instance: &str, checks: &Value) {
        let response = self
            .agent
            .post(self.control(&format!("instances/{instance}/status")))
            .send_json(checks);
        self.read::<Value>(response);
    }

    /// Empties it.
    pub(crate) fn reset(&self) {
        let response = self.agent.post(self.control("reset")).send_json(json!({}));
        self.read::<Value>(response);
    }

    /// An EC2 client, for looking and for doing what somebody outside Rayward does. Its calls are recorded too.
    pub(crate) fn ec2(&self) -> aws_sdk_ec2::Client {
        use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region};
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.url)
            .region(Region::from_static(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
            .build();
        aws_sdk_ec2::Client::from_conf(config)
    }

    /// An S3 client, likewise.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.url)
            .force_path_style(true)
            .region(Region::from_static(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Makes an instance profile without a role in the account, as somebody outside Rayward does.
    pub(crate) fn make_instance_profile(&self, name: &str) {
        // The stand-in reads whose request it is and for which service, and checks no signature.
        let scope = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/iam/aws4_request");
        let request = [("Action", "CreateInstanceProfile"), ("InstanceProfileName", name)];
        let request = request.into_iter().chain([("Version", "2010-05-08")]);
        let post = self.agent.post(&self.url);
        let answer = post
            .header("Authorization", format!("{scope}, SignedHeaders=host, Signature=0"))
            .send_form(request);
        let status = answer.unwrap_or_else(|error| panic!("the stand-in does not answer: {error}"));
        assert!(status.status().is_success(), "no profile: {status:?}");
    }

    /// The environment of a program that shall find the stand-in where it looks for AWS.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
        ]
    }

    /// Where it writes each call as a line of JSON.
    pub(crate) fn calls_log(&self) -> &Path {
        &self.calls_log
    }

    /// Its log, for messages.
    pub(crate) fn log(&self) -> &Path {
        self.process.log()
    }

    /// What the control endpoint answers to `GET path`.
    pub(crate) fn control_json(&self, path: &str) -> Value {
        self.read(self.agent.get(self.control(path)).call())
    }

    /// What it answers to `POST path`, or why it refuses.
    pub(crate) fn try_control(&self, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.agent.post(self.control(path)).send_json(body);
        let mut answer = answer.map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
        } else {
            Err(text)
        }
    }

    /// Calls IAM, of which the SDK's client is not worth building.
    pub(crate) fn iam(&self, form: &str) {
        // Which service is meant stands in the signature, which is not checked.
        let scope = format!("Credential={ACCESS_KEY}/20260101/us-east-1/iam/aws4_request");
        let request = self
            .agent
            .post(&self.url)
            .header(
                "Authorization",
                &format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"),
            )
            .header("Content-Type", "application/x-www-form-urlencoded");
        let mut answer = request.send(form).expect("the stand-in answers");
        let text = answer.body_mut().read_to_string().expect("the answer can be read");
        assert!(answer.status().is_success(), "IAM refuses {form}: {text}");
    }

    /// Ends it in good order: its machines and their networks are gone then.
    pub(crate) fn end(&mut self) {
        if self.process.ended().is_none() {
            self.process.signal(rustix::process::Signal::TERM);
        }
        let mut waited = super::wait::Waited::nothing();
        while self.process.ended().is_none() && waited.so_far() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn control(&self, path: &str) -> String {
        format!("{}/_sandbox/{path}", self.url)
    }

    fn read<T: DeserializeOwned>(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> T {
        let mut response = response
            .unwrap_or_else(|error| panic!("the stand-in does not answer: {error}\n{}", self.process.log_tail()));
        let status = response.status();
        let text = response.body_mut().read_to_string().expect("the answer can be read");
        assert!(status.is_success(), "the stand-in refuses: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("the stand-in answers {text:?}: {error}"))
    }
}

/// Where the machines come from.
struct Control {
    url: String,
    agent: ureq::Agent,
}

impl Account for Control {
    fn machines(&self) -> Result<Vec<Machine>, String> {
        #[derive(Deserialize)]
        struct Machines {
            instances: Vec<Machine>,
        }
        let answer = self.agent.get(format!("{}/_sandbox/instances", self.url)).call();
        let mut answer = answer.map_err(|error| error.to_string())?;
        let machines: Machines = answer.body_mut().read_json().map_err(|error| error.to_string())?;
        Ok(machines.instances)
    }
}

/// Any key opens the stand-in.
const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "test";
