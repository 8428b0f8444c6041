//! The AWS SDK's clients of one account and region.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use super::{Aws, AwsCall, AwsError, ErrorClass, Gate, Image, Scope, pace::Pace, rotation::Rotation};
use crate::{
    resources::{Answer, Change, Kind, Listing},
    tags::Tags,
    validate::ImageRef,
};

/// How many buckets are looked at side by side: four, as a cluster has by default.
const LOOKS_AT_ONCE: usize = 4;
/// How long after a look the next takes its place: with four places, 20 looks (80 calls) a second at most.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The clients of one account and region, and the gate through which all their calls go.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Region of the clients.
    pub region: String,
    /// EC2.
    pub ec2: aws_sdk_ec2::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Systems Manager.
    pub ssm: aws_sdk_ssm::Client,
    /// Security Token Service.
    pub sts: aws_sdk_sts::Client,
    /// DNS attributes of VPCs as last read: (support, host names).
    pub dns_attributes: Arc<Rotation<(bool, bool)>>,
    /// The budget for looks at buckets.
    pub looks: Arc<Pace>,
    /// See [`Gate`].
    pub gate: Gate,
}

impl Clients {
    /// Clients by the SDK's default chain of credentials; `AWS_ENDPOINT_URL` is honoured.
    pub async fn connect(region: &str, gate: Gate, connect_timeout: Duration) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            // Our own classes decide what is tried again and when: the SDK's retries would hide throttling, and a
            // repeated call could land after this process lost its right to make it.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(connect_timeout).build())
            .load()
            .await;
        Self::new(region, &config, gate)
    }

    /// Clients of this configuration, which has to name the region and to leave trying again to us.
    #[must_use]
    pub fn new(region: &str, config: &SdkConfig, gate: Gate) -> Self {
        // A stand-in is one host for all buckets; AWS itself takes both styles for names without dots.
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(config.endpoint_url().is_some())
            .build();
        Self {
            region: region.to_owned(),
            ec2: aws_sdk_ec2::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            ssm: aws_sdk_ssm::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            dns_attributes: Arc::default(),
            looks: Arc::new(Pace::new(LOOKS_AT_ONCE, LOOK_PAUSE)),
            gate,
        }
    }

    /// Tags in EC2's form.
    #[must_use]
    pub fn ec2_tags(&self, tags: &Tags) -> Vec<Tag> {
        tags.iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
    }

    /// Tags of something that is being created, in EC2's form.
    #[must_use]
    pub fn tag_specification(&self, kind: ResourceType, tags: &Tags) -> TagSpecification {
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(self.ec2_tags(tags)))
            .build()
    }
}

/// Tags from EC2's form.
#[must_use]
pub fn tags_from(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// Tags of something found in a sweep, empty where it does not carry the installation's tag: a VPC of the user's may
/// hold thousands of things whose tags mean nothing to us.
#[must_use]
pub fn tags_in(scope: &Scope, tags: &[Tag]) -> Tags {
    let tags = tags_from(tags);
    if tags.get(crate::tags::INSTALLATION) == Some(&scope.installation) {
        tags
    } else {
        Tags::new()
    }
}

/// A filter in EC2's form.
#[must_use]
pub fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().map(Into::into).collect()))
        .build()
}

/// The filters whose results, put together, are what a scope covers: our tag, and the VPCs in which we have something.
/// `vpc_filter` is the name of the filter by VPC for this kind; EC2 takes up to 200 values a filter.
#[must_use]
pub fn scope_filters(scope: &Scope, vpc_filter: &str) -> Vec<Filter> {
    let ours = filter(
        &format!("tag:{}", crate::tags::INSTALLATION),
        [scope.installation.as_str()],
    );
    std::iter::once(ours)
        .chain(
            scope
                .vpc_ids
                .chunks(200)
                .map(|vpcs| filter(vpc_filter, vpcs.iter().map(String::as_str))),
        )
        .collect()
}

#[async_trait]
impl Aws for Clients {
    async fn account(&self) -> Result<String, AwsError> {
        let call = AwsCall::GetCallerIdentity;
        let answer = self
            .gate
            .send(call, "credentials", self.sts.get_caller_identity().send())
            .await?;
        answer.account.ok_or_else(|| AwsError {
            call,
            subject: "credentials".into(),
            class: ErrorClass::Retryable,
            code: "BadAnswer".into(),
            message: "the answer names no account".into(),
        })
    }

    async fn list(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError> {
        self.list_kind(kind, scope).await
    }

    async fn image(&self, image: &ImageRef) -> Result<Image, AwsError> {
        super::image::resolve(self, image).await
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        // The futures of the SDK are large.
        Box::pin(change.apply(self)).await
    }
}
