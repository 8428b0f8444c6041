//! What is said to S3 about buckets.

use std::{collections::BTreeSet, error::Error, future::Future, time::Duration};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, ObjectOwnership,
        PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
        ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging, VersioningConfiguration,
    },
};
use futures::{FutureExt, TryFutureExt, future::BoxFuture};

use super::{Bucket, BucketChange, Contents, Fill, Look, Retag, Settings, Step, Why, name::PREFIX};
use crate::{
    aws::{AwsCall, AwsError, Clients, ErrorClass, Scope, pace::Turn},
    resources::{Answer, ResourceChange, gone},
    tags::{CLUSTER_UID, RELEASED_BY, Tags},
};

/// Most buckets in one page of a listing: the most that S3 allows.
const PAGE: i32 = 10_000;
/// The region that S3 takes when none is named, and that must not be named.
const FIRST_REGION: &str = "us-east-1";
/// How long a look waits for its turn before its pass goes on without it.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// The buckets of the account that concern anybody: those with names that Rayward makes and those that `scope` names.
/// S3 tells names and regions here, nothing else.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Bucket>, AwsError> {
    let mut found = Vec::new();
    let named: BTreeSet<&str> = scope.bucket_names.iter().map(String::as_str).collect();
    let mut pages = clients.s3.list_buckets().max_buckets(PAGE).into_paginator().send();
    while let Some(page) = clients
        .gate
        .send(AwsCall::ListBuckets, "page", pages.try_next())
        .await?
    {
        for bucket in page.buckets() {
            let Some(name) = bucket
                .name()
                .filter(|name| name.starts_with(PREFIX) || named.contains(name))
            else {
                continue;
            };
            let region = bucket.bucket_region().map(ToOwned::to_owned);
            found.push(Bucket {
                name: name.into(),
                region,
                ..Bucket::default()
            });
        }
    }
    Ok(found)
}

impl BucketChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        match &self.step {
            Step::Create { purpose, tags } => self.create(clients, purpose, tags).await,
            Step::Look { at, generation } => {
                let _turn = self.turn(clients).await?;
                // Side by side, since nearly every look finds it to be this cluster's; what else is read of another's
                // counts for nothing, and neither does a refusal of that.
                let (tags, settings) = futures::join!(self.tags(clients), self.settings(clients));
                let tags = tags?;
                let settings = if self.is_ours(&tags) { Some(settings?) } else { None };
                let look = Some(Look {
                    at: *at,
                    generation: *generation,
                    settings,
                });
                Ok(self.seen(Bucket {
                    tags,
                    look,
                    ..Bucket::default()
                }))
            }
            Step::LookInside { at } => {
                let _turn = self.turn(clients).await?;
                let tags = self.tags(clients).await?;
                let fill = if self.has_content(clients).await? {
                    Fill::Data
                } else {
                    Fill::Empty
                };
                let contents = Some(Contents { at: *at, fill });
                Ok(self.seen(Bucket {
                    tags,
                    contents,
                    ..Bucket::default()
                }))
            }
            Step::BlockPublicAccess => self.block_public_access(clients).await,
            Step::EnableVersioning => self.enable_versioning(clients).await,
            Step::Encrypt => self.encrypt(clients).await,
            Step::Retag(retag) => self.retag(clients, retag).await,
            Step::Empty { at } => self.empty(clients, *at).await,
            Step::Delete => {
                let tags = self.tags(clients).await?;
                if !self.is_ours(&tags) {
                    return Ok(self.seen(Bucket {
                        tags,
                        ..Bucket::default()
                    }));
                }
                let request = clients
                    .s3
                    .delete_bucket()
                    .bucket(&self.name)
                    .expected_bucket_owner(&self.account);
                gone(self.send(clients, AwsCall::DeleteBucket, request.send()).await)
            }
        }
    }

    pub(super) fn seen(&self, bucket: Bucket) -> Answer {
        let name = self.name.clone();
        Answer::Bucket(Box::new(Bucket { name, ..bucket }))
    }

    pub(super) fn is_ours(&self, tags: &Tags) -> bool {
        tags.get(CLUSTER_UID) == Some(&self.cluster_uid)
    }

    /// Makes a call; boxed, since the futures of the SDK are large.
    pub(super) fn send<'a, T, E, F>(
        &'a self,
        clients: &'a Clients,
        call: AwsCall,
        request: F,
    ) -> BoxFuture<'a, Result<T, AwsError>>
    where
        T: Send + 'a,
        F: Future<Output = Result<T, SdkError<E>>> + Send + 'a,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = clients.gate.send(call, &self.name, request);
        answer.map_err(|error| self.explain(error)).boxed()
    }

    /// Adds what a person can do to an error that says little.
    fn explain(&self, mut error: AwsError) -> AwsError {
        let hint = match error.code.as_str() {
            "BucketAlreadyExists" => "the name is taken by another AWS account; give another name in the spec".into(),
            "AccessDenied" => format!(
                "the controller's permissions have to allow it, and account {} has to own the bucket",
                self.account
            ),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                "the bucket is in another region; give another name in the spec".into()
            }
            _ => return error,
        };
        error.message = format!("{} ({hint})", error.message);
        error
    }

    async fn turn(&self, clients: &Clients) -> Result<Turn, AwsError> {
        clients.looks.turn(LOOK_PATIENCE).await.ok_or_else(|| AwsError {
            call: self.call(),
            subject: self.name.clone(),
            class: ErrorClass::Waiting,
            code: "ManyLooks".into(),
            message: "many buckets are being looked at; this one comes later".into(),
        })
    }

    async fn create(&self, clients: &Clients, purpose: &str, tags: &Tags) -> Result<Answer, AwsError> {
        let place = (clients.region != FIRST_REGION).then(|| BucketLocationConstraint::from(clients.region.as_str()));
        let configuration = CreateBucketConfiguration::builder()
            .set_location_constraint(place)
            .set_tags(Some(s3_tags(tags)))
            .build();
        let request = clients
            .s3
            .create_bucket()
            .bucket(&self.name)
            .object_ownership(ObjectOwnership::BucketOwnerEnforced)
            .create_bucket_configuration(configuration);
        match self.send(clients, AwsCall::CreateBucket, request.send()).await {
            Ok(_) => Ok(Answer::Created(self.name.clone())),
            // Made by an earlier call whose answer was lost, or by another cluster: the look that follows tells.
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => Ok(Answer::Done),
            Err(mut error) => {
                error.message = format!("{} (purpose {purpose})", error.message);
                Err(error)
            }
        }
    }

    /// The tags; none is no error.
    pub(super) async fn tags(&self, clients: &Clients) -> Result<Tags, AwsError> {
        let request = clients
            .s3
            .get_bucket_tagging()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account);
        let answer = self.send(clients, AwsCall::GetBucketTagging, request.send()).await;
        let answer = unless_unset("NoSuchTagSet", answer)?;
        let tags = answer.map(|answer| answer.tag_set).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    async fn settings(&self, clients: &Clients) -> Result<Settings, AwsError> {
        let (versioned, public_access_blocked, encrypted) = futures::try_join!(
            self.versioned(clients),
            self.public_access_blocked(clients),
            self.encrypted(clients)
        )?;
        Ok(Settings {
            versioned,
            public_access_blocked,
            encrypted,
        })
    }

    async fn versioned(&self, clients: &Clients) -> Result<bool, AwsError> {
        let request = clients
            .s3
            .get_bucket_versioning()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account);
        let answer = self.send(clients, AwsCall::GetBucketVersioning, request.send()).await?;
        Ok(answer.status == Some(BucketVersioningStatus::Enabled))
    }

    async fn public_access_blocked(&self, clients: &Clients) -> Result<bool, AwsError> {
        let request = clients
            .s3
            .get_public_access_block()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account);
        let answer = self.send(clients, AwsCall::GetPublicAccessBlock, request.send()).await;
        let answer = unless_unset("NoSuchPublicAccessBlockConfiguration", answer)?;
        let block = answer.and_then(|answer| answer.public_access_block_configuration);
        Ok(block.is_some_and(|block| block == all_blocked()))
    }

    async fn encrypted(&self, clients: &Clients) -> Result<bool, AwsError> {
        let request = clients
            .s3
            .get_bucket_encryption()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account);
        let answer = self.send(clients, AwsCall::GetBucketEncryption, request.send()).await;
        let answer = unless_unset("ServerSideEncryptionConfigurationNotFoundError", answer)?;
        let rules = answer.and_then(|answer| answer.server_side_encryption_configuration);
        Ok(rules.is_some_and(|rules| {
            rules
                .rules()
                .iter()
                .any(|rule| rule.apply_server_side_encryption_by_default().is_some())
        }))
    }

    async fn block_public_access(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let request = clients
            .s3
            .put_public_access_block()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .public_access_block_configuration(all_blocked());
        self.send(clients, AwsCall::PutPublicAccessBlock, request.send())
            .await
            .map(|_| Answer::Done)
    }

    async fn enable_versioning(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let on = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let request = clients
            .s3
            .put_bucket_versioning()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .versioning_configuration(on);
        self.send(clients, AwsCall::PutBucketVersioning, request.send())
            .await
            .map(|_| Answer::Done)
    }

    async fn encrypt(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let aes = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::Aes256)
            .build();
        let rule = ServerSideEncryptionRule::builder()
            .set_apply_server_side_encryption_by_default(aes.ok())
            .build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build();
        let request = clients
            .s3
            .put_bucket_encryption()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .set_server_side_encryption_configuration(rules.ok());
        self.send(clients, AwsCall::PutBucketEncryption, request.send())
            .await
            .map(|_| Answer::Done)
    }

    /// S3 replaces all tags of a bucket at once, so they are read first and those of others kept. If they do not say
    /// any more what the plan relied on, nothing is written, and the plan learns what they say.
    async fn retag(&self, clients: &Clients, retag: &Retag) -> Result<Answer, AwsError> {
        let mut tags = self.tags(clients).await?;
        let (uid, released_by) = (tags.get(CLUSTER_UID), tags.get(RELEASED_BY));
        let as_planned = match &retag.why {
            Why::Repair | Why::Release => uid == Some(&self.cluster_uid),
            Why::Claim => uid.is_none() && released_by.is_none(),
            Why::Adopt(by) => uid.is_none() && released_by == Some(by),
        };
        if as_planned {
            tags.extend(retag.set.clone());
            if let Some(key) = &retag.remove {
                tags.remove(key);
            }
            let tagging = Tagging::builder().set_tag_set(Some(s3_tags(&tags))).build();
            let request = clients
                .s3
                .put_bucket_tagging()
                .bucket(&self.name)
                .expected_bucket_owner(&self.account)
                .set_tagging(tagging.ok());
            self.send(clients, AwsCall::PutBucketTagging, request.send()).await?;
        }
        Ok(self.seen(Bucket {
            tags,
            ..Bucket::default()
        }))
    }
}

fn all_blocked() -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build()
}

fn s3_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok())
        .collect()
}

/// `None` for what S3 reports as an error although it only says that something was never set.
fn unless_unset<T>(code: &str, result: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match result {
        Err(error) if error.code == code => Ok(None),
        result => result.map(Some),
    }
}
