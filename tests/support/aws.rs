//! The crate's own clients of the stand-in, for tests that carry changes out without a controller.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use rayward::aws::{AwsCall, Clients, ErrorClass, Fence, Gate, Observer};

use super::stand_in::StandIn;

struct Open;

impl Fence for Open {
    fn may_change(&self) -> bool {
        true
    }
}

impl Observer for Open {
    fn call_ended(&self, _: AwsCall, _: Option<ErrorClass>, _: Duration) {}
}

/// Clients of a region, with an access key: the stand-in takes any, and keys may belong to different accounts.
pub(crate) fn clients(stand_in: &StandIn, region: &'static str, key: &str) -> Clients {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(stand_in.url())
        .region(Region::from_static(region))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            key, "secret", None, None, "test",
        )))
        .retry_config(RetryConfig::disabled())
        .build();
    let gate = Gate::new(Arc::new(Open), Arc::new(Open), Duration::from_secs(20));
    Clients::new(region, &config, gate)
}
