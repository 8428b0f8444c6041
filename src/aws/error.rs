//! What can go wrong on AWS. Only the class of an error decides what follows.

use std::{borrow::Cow, error::Error};

use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::{
    AwsCall,
    advice::{advice, is_of_profile},
};

/// A call that did not succeed. Says what failed, on what, what a person can do, and AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} {subject}: {code}: {}", self.words())]
pub struct AwsError {
    /// The call.
    pub call: AwsCall,
    /// What it was about: an id, a name.
    pub subject: String,
    /// What follows from it.
    pub class: ErrorClass,
    /// AWS's error code, for example `InsufficientInstanceCapacity`, or `Timeout`, `Connection`.
    pub code: String,
    /// AWS's message.
    pub message: String,
}

impl AwsError {
    /// What a person can do, and AWS's words: in this order, since AWS's may be long and are cut off first.
    #[must_use]
    pub fn words(&self) -> Cow<'_, str> {
        match advice(&self.code, &self.message) {
            Some(advice) => format!("{advice}. AWS: {}", self.message).into(),
            None => self.message.as_str().into(),
        }
    }
}

/// The code of a call that got no answer in time, and may be carried out nevertheless.
pub const TIMEOUT: &str = "Timeout";
/// The code of a launch for which its subnet has no free address, whatever the type and the zone.
pub const SUBNET_FULL: &str = "InsufficientFreeAddressesInSubnet";

/// The code of a call that could not be made for want of credentials.
const CREDENTIALS: &str = "Credentials";
/// The code of a call to a host that nobody knows: that of a region that does not exist.
pub const UNKNOWN_HOST: &str = "UnknownHost";

impl AwsError {
    /// Whether the same call fails until a person acts.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        self.class == ErrorClass::Terminal || self.is_undelivered()
    }

    /// Whether the call may be carried out all the same: no answer tells that it was not.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.class == ErrorClass::Retryable && !self.is_undelivered()
    }

    fn is_undelivered(&self) -> bool {
        [CREDENTIALS, UNKNOWN_HOST].contains(&self.code.as_str())
    }
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Again, later each time: time-outs, broken connections, 5xx.
    Retryable,
    /// Again, and all calls of this account and region slower.
    Throttled,
    /// This type in this zone, or this subnet, is skipped for minutes.
    Capacity,
    /// Not this type in this zone, or not as it is asked for, which says nothing about other clusters: the next type or
    /// zone, and when there is none a person has to act.
    Unsupported,
    /// Again once the resource has reached another state: `IncorrectInstanceState`, `DependencyViolation`.
    Waiting,
    /// It is not there (yet, or any more).
    NotFound,
    /// A repeated launch differed from the first: the first was carried out, its machines are found by token.
    AlreadyCarriedOut,
    /// A person has to act: a condition, then another try once an hour.
    Terminal,
    /// This process may change nothing any more (shutting down, or no longer the leader).
    LostLease,
}

/// Class, code and message of a failed call.
pub(super) fn classify<E>(error: &SdkError<E>) -> (ErrorClass, String, String)
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service
                .err()
                .code()
                .map_or_else(|| format!("Http{status}"), ToOwned::to_owned);
            let message = service.err().message().unwrap_or("no message").to_owned();
            // EC2 does not know at once a profile that was made a moment ago.
            let class = if is_of_profile(&code, &message) {
                ErrorClass::NotFound
            } else {
                class_of(&code, status)
            };
            (class, code, message)
        }
        SdkError::TimeoutError(_) => (ErrorClass::Retryable, TIMEOUT.into(), "the call timed out".into()),
        SdkError::DispatchFailure(failure) => {
            let text = in_one_line(error);
            let code = if failure.is_timeout() {
                TIMEOUT
            } else {
                undelivered(&text)
            };
            let message = if code == CREDENTIALS {
                format!(
                    "no AWS credentials: give this process a role, a profile or AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY ({text})"
                )
            } else {
                text
            };
            (ErrorClass::Retryable, code.into(), message)
        }
        SdkError::ConstructionFailure(_) => (ErrorClass::Terminal, "BadRequest".into(), in_one_line(error)),
        _ => (ErrorClass::Retryable, "BadAnswer".into(), in_one_line(error)),
    }
}

/// The code of a call that did not get as far as AWS, by the words of the SDK: it has types for none of this.
fn undelivered(text: &str) -> &'static str {
    if let Some((_, cause)) = text.split_once("credential") {
        // A source of credentials that does not answer now: instance metadata, STS.
        let is_weather = ["timed out", "dispatch failure"]
            .iter()
            .any(|word| cause.contains(word));
        return if is_weather { "Connection" } else { CREDENTIALS };
    }
    // The resolver's other answer, "Temporary failure in name resolution", passes by itself.
    if text.contains("failed to lookup address") && !text.contains("emporary failure") {
        UNKNOWN_HOST
    } else {
        "Connection"
    }
}

/// An error with its causes, short enough for a condition.
fn in_one_line(error: &(impl Error + 'static)) -> String {
    const LONGEST: usize = 300;
    let text = DisplayErrorContext(error).to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain("...".chars()).collect()
}

/// The class of an error code. Sources: EC2's "Error codes for the Amazon EC2 API" and S3's "Error responses".
fn class_of(code: &str, status: u16) -> ErrorClass {
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "SlowDown"
        | "TooManyRequestsException"
        | "EC2ThrottledException"
        | "RequestThrottled"
        | "Http429" => ErrorClass::Throttled,
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | SUBNET_FULL => ErrorClass::Capacity,
        "Unsupported" => ErrorClass::Unsupported,
        "IdempotentParameterMismatch" => ErrorClass::AlreadyCarriedOut,
        "IncorrectInstanceState"
        | "IncorrectState"
        | "DependencyViolation"
        | "InvalidIPAddress.InUse"
        | "InvalidNetworkInterface.InUse"
        | "OperationAborted"
        | "BucketNotEmpty"
        | "IncorrectInstanceState.Transition"
        | "ConditionalRequestConflict"
        | "VolumeInUse"
        // It is there already, though not seen yet: the next sweep shows it.
        | "InvalidGroup.Duplicate"
        | "InvalidKeyPair.Duplicate"
        | "InvalidSubnet.Conflict"
        | "Resource.AlreadyAssociated" => ErrorClass::Waiting,
        "NoSuchBucket"
        | "NoSuchKey"
        | "NoSuchUpload"
        | "NotFound"
        | "Gateway.NotAttached"
        | "NoSuchPublicAccessBlockConfiguration"
        | "NoSuchTagSet"
        | "ServerSideEncryptionConfigurationNotFoundError"
        | "InvalidParameterValue.NotFound"
        | "ParameterNotFound" => ErrorClass::NotFound,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" | "RequestTimeout"
        | "RequestExpired" | "ServerInternal" => ErrorClass::Retryable,
        _ if code.ends_with(".NotFound") => ErrorClass::NotFound,
        // A server's error, or an answer that is none of S3's or EC2's: a proxy's page, or cut off.
        _ if !(300..500).contains(&status) => ErrorClass::Retryable,
        _ => ErrorClass::Terminal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_never_capacity_and_quota_is_a_persons_matter() {
        assert_eq!(class_of("RequestLimitExceeded", 503), ErrorClass::Throttled);
        assert_eq!(class_of("InsufficientInstanceCapacity", 500), ErrorClass::Capacity);
        assert_eq!(class_of(SUBNET_FULL, 400), ErrorClass::Capacity);
        assert_eq!(class_of("VcpuLimitExceeded", 400), ErrorClass::Terminal);
        assert_eq!(class_of("UnauthorizedOperation", 403), ErrorClass::Terminal);
    }

    #[test]
    fn missing_credentials_and_an_unknown_host_are_a_persons_matter_and_a_broken_connection_is_not() {
        let none = "dispatch failure: other: the credential provider was not enabled: no credentials found in chain";
        assert_eq!(undelivered(none), CREDENTIALS);
        let refused =
            "dispatch failure: other: an error occurred while loading credentials: service error: AccessDenied";
        assert_eq!(undelivered(refused), CREDENTIALS);
        let silent = "dispatch failure: other: the credentials provider timed out: 1 s";
        assert_eq!(undelivered(silent), "Connection");
        let sts = "dispatch failure: other: an error occurred while loading credentials: dispatch failure: io error";
        assert_eq!(undelivered(sts), "Connection");
        let host =
            |why: &str| format!("dispatch failure: io error: dns error: failed to lookup address information: {why}");
        assert_eq!(undelivered(&host("Name or service not known")), UNKNOWN_HOST);
        assert_eq!(undelivered(&host("Temporary failure in name resolution")), "Connection");
        assert_eq!(
            undelivered("dispatch failure: io error: connection refused"),
            "Connection"
        );
    }

    #[test]
    fn what_to_do_comes_before_what_aws_says() {
        let mut error = AwsError {
            call: AwsCall::CreateVpc,
            subject: "vpc".into(),
            class: ErrorClass::Terminal,
            code: "UnauthorizedOperation".into(),
            message: "You are not authorized".into(),
        };
        assert_eq!(
            error.to_string(),
            "ec2:CreateVpc vpc: UnauthorizedOperation: allow this call to the AWS identity of the controller. AWS: You \
             are not authorized"
        );
        error.code = "InternalError".into();
        assert_eq!(
            error.to_string(),
            "ec2:CreateVpc vpc: InternalError: You are not authorized"
        );
    }

    #[test]
    fn an_unknown_server_error_is_tried_again_and_an_unknown_client_error_is_not() {
        assert_eq!(class_of("Http502", 502), ErrorClass::Retryable);
        assert_eq!(class_of("Http200", 200), ErrorClass::Retryable);
        assert_eq!(class_of("SomethingNew", 400), ErrorClass::Terminal);
        assert_eq!(class_of("InvalidVpcID.NotFound", 400), ErrorClass::NotFound);
    }
}
