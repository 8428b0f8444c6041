//! Taking everything out of a bucket: every version of every object, delete markers, unfinished uploads.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use jiff::Timestamp;

use super::{Bucket, BucketChange, Contents, Fill};
use crate::{
    aws::{AwsCall, AwsError, Clients, ErrorClass},
    resources::Answer,
};

/// How many batches of up to 1,000 go with one change: some seconds of work, so that no pass runs out of time.
const BATCHES: usize = 10;
/// How many unfinished uploads go with one change; S3 takes them one at a time.
const UPLOADS: usize = 200;

impl BucketChange {
    /// Whether any version, delete marker or unfinished upload is there.
    pub(super) async fn has_content(&self, clients: &Clients) -> Result<bool, AwsError> {
        let (versions, uploads) = futures::try_join!(self.versions(clients, 1), self.uploads(clients, 1))?;
        Ok(!versions.is_empty() || !uploads.is_empty())
    }

    /// Deletes a good deal of what is in the bucket, if it still is the cluster's.
    pub(super) async fn empty(&self, clients: &Clients, at: Timestamp) -> Result<Answer, AwsError> {
        let tags = self.tags(clients).await?;
        if !self.is_ours(&tags) {
            return Ok(self.seen(Bucket {
                tags,
                ..Bucket::default()
            }));
        }
        let fill = self.take_out(clients).await?;
        // The rest before the next go counts from the end of this one.
        let contents = Some(Contents {
            at: at.max(Timestamp::now()),
            fill,
        });
        Ok(self.seen(Bucket {
            tags,
            contents,
            ..Bucket::default()
        }))
    }

    async fn take_out(&self, clients: &Clients) -> Result<Fill, AwsError> {
        let mut taken = 0;
        for _ in 0..BATCHES {
            // From the start each time: going on from page to page while deleting skips what moved up.
            let versions = self.versions(clients, 1000).await?;
            if versions.is_empty() {
                let uploads = self.uploads(clients, UPLOADS).await?;
                if uploads.is_empty() {
                    return Ok(Fill::Empty);
                }
                for (key, upload) in &uploads {
                    self.abort(clients, key, upload).await?;
                }
                taken += uploads.len();
            } else {
                taken += versions.len();
                self.delete_versions(clients, versions).await?;
            }
        }
        Ok(Fill::Emptying(taken))
    }

    async fn versions(&self, clients: &Clients, limit: i32) -> Result<Vec<ObjectIdentifier>, AwsError> {
        let request = clients
            .s3
            .list_object_versions()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .max_keys(limit);
        let page = self.send(clients, AwsCall::ListObjectVersions, request.send()).await?;
        let versions = page
            .versions()
            .iter()
            .map(|version| (version.key(), version.version_id()));
        let markers = page
            .delete_markers()
            .iter()
            .map(|marker| (marker.key(), marker.version_id()));
        let identifier = |(key, version): (Option<&str>, Option<&str>)| {
            let version = version.map(ToOwned::to_owned);
            ObjectIdentifier::builder()
                .key(key?)
                .set_version_id(version)
                .build()
                .ok()
        };
        Ok(versions.chain(markers).filter_map(identifier).collect())
    }

    async fn delete_versions(&self, clients: &Clients, versions: Vec<ObjectIdentifier>) -> Result<(), AwsError> {
        let count = versions.len();
        let batch = Delete::builder().set_objects(Some(versions)).quiet(true).build();
        let request = clients
            .s3
            .delete_objects()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .set_delete(batch.ok());
        let answer = self.send(clients, AwsCall::DeleteObjects, request.send()).await?;
        // S3 answers 200 even when it deleted nothing.
        let Some(error) = answer.errors().first() else {
            return Ok(());
        };
        let code = error.code().unwrap_or("Unknown").to_owned();
        let again = matches!(code.as_str(), "InternalError" | "SlowDown" | "ServiceUnavailable");
        let failed = answer.errors().len();
        let key = error.key().unwrap_or_default();
        let message = error.message().unwrap_or_default();
        Err(AwsError {
            call: AwsCall::DeleteObjects,
            subject: self.name.clone(),
            class: if again {
                ErrorClass::Retryable
            } else {
                ErrorClass::Terminal
            },
            code,
            message: format!("{failed} of {count} versions stay, the first of {key:?}: {message}"),
        })
    }

    /// Keys and ids of unfinished uploads.
    async fn uploads(&self, clients: &Clients, limit: usize) -> Result<Vec<(String, String)>, AwsError> {
        let request = clients
            .s3
            .list_multipart_uploads()
            .bucket(&self.name)
            .expected_bucket_owner(&self.account)
            .set_max_uploads(i32::try_from(limit).ok());
        let page = self
            .send(clients, AwsCall::ListMultipartUploads, request.send())
            .await?;
        let upload = |upload: &aws_sdk_s3::types::MultipartUpload| {
            Some((upload.key()?.to_owned(), upload.upload_id()?.to_owned()))
        };
        Ok(page.uploads().iter().filter_map(upload).collect())
    }

    async fn abort(&self, clients: &Clients, key: &str, upload: &str) -> Result<(), AwsError> {
        let request = clients
            .s3
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .upload_id(upload)
            .expected_bucket_owner(&self.account);
        match self.send(clients, AwsCall::AbortMultipartUpload, request.send()).await {
            Err(error) if error.code == "NoSuchUpload" => Ok(()),
            result => result.map(|_| ()),
        }
    }
}
