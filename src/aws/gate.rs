//! The one gate through which every AWS call goes: the fence before a change, the time limit, the class of an error,
//! and an observer for metrics.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use super::{
    Access, AwsCall, AwsError, ErrorClass,
    error::{TIMEOUT, classify},
};

/// Says whether this process may still change something: shutdown now, leadership too where there are replicas.
pub trait Fence: Send + Sync {
    /// Whether a change may be made now.
    fn may_change(&self) -> bool;
}

/// Is told of every call, for metrics.
pub trait Observer: Send + Sync {
    /// A call ended: `class` is `None` when it succeeded.
    fn call_ended(&self, call: AwsCall, class: Option<ErrorClass>, took: Duration);
}

/// See the module.
#[derive(Clone)]
pub struct Gate {
    fence: Arc<dyn Fence>,
    observer: Arc<dyn Observer>,
    timeout: Duration,
}

impl Gate {
    /// A gate with a time limit for each call.
    #[must_use]
    pub fn new(fence: Arc<dyn Fence>, observer: Arc<dyn Observer>, timeout: Duration) -> Self {
        Self {
            fence,
            observer,
            timeout,
        }
    }

    /// Makes `call` about `subject` by awaiting `request`.
    ///
    /// # Errors
    /// [`ErrorClass::LostLease`] without making the call when the fence is down; otherwise what AWS answered.
    pub async fn send<T, E, F>(&self, call: AwsCall, subject: &str, request: F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let fail = |class, code: &str, message: String| AwsError {
            call,
            subject: subject.to_owned(),
            class,
            code: code.to_owned(),
            message,
        };
        if call.access() != Access::Read && !self.fence.may_change() {
            return Err(fail(
                ErrorClass::LostLease,
                "Fenced",
                "this process may not change anything any more".into(),
            ));
        }
        let began = Instant::now();
        let result = match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let (class, code, message) = classify(&error);
                Err(fail(class, &code, message))
            }
            Err(_) => Err(fail(
                ErrorClass::Retryable,
                TIMEOUT,
                format!("no answer within {:?}", self.timeout),
            )),
        };
        self.observer
            .call_ended(call, result.as_ref().err().map(|error| error.class), began.elapsed());
        result
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use aws_sdk_ec2::operation::create_vpc::CreateVpcError;

    use super::*;

    struct Switch(AtomicBool);

    impl Fence for Switch {
        fn may_change(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<(AwsCall, Option<ErrorClass>)>>);

    impl Observer for Told {
        fn call_ended(&self, call: AwsCall, class: Option<ErrorClass>, _: Duration) {
            self.0.lock().unwrap().push((call, class));
        }
    }

    fn gate(is_open: bool) -> (Gate, Arc<Told>) {
        let told = Arc::new(Told::default());
        let fence = Arc::new(Switch(AtomicBool::new(is_open)));
        (Gate::new(fence, told.clone(), Duration::from_millis(10)), told)
    }

    #[tokio::test]
    async fn a_call_without_an_answer_ends_in_time_and_its_outcome_is_unknown() {
        let (gate, told) = gate(true);
        let silence = std::future::pending::<Result<(), SdkError<CreateVpcError>>>();
        let error = gate.send(AwsCall::CreateVpc, "vpc", silence).await.unwrap_err();
        // Not NotFound, not Terminal: whoever reads it must take it for perhaps carried out.
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Retryable, TIMEOUT));
        assert_eq!(error.to_string(), "ec2:CreateVpc vpc: Timeout: no answer within 10ms");
        let told = told.0.lock().unwrap().clone();
        assert_eq!(told, [(AwsCall::CreateVpc, Some(ErrorClass::Retryable))]);
    }

    #[tokio::test]
    async fn behind_the_fence_nothing_is_changed_and_all_can_be_read() {
        let (gate, told) = gate(false);
        let never = async { panic!("the call was made") };
        let change = gate.send::<(), CreateVpcError, _>(AwsCall::CreateVpc, "vpc", never);
        assert_eq!(change.await.unwrap_err().class, ErrorClass::LostLease);
        let launch = async { panic!("the call was made") };
        let launch = gate.send::<(), CreateVpcError, _>(AwsCall::RunInstances, "head", launch);
        assert_eq!(launch.await.unwrap_err().class, ErrorClass::LostLease);
        let read = gate.send::<_, CreateVpcError, _>(AwsCall::DescribeVpcs, "page", async { Ok(1) });
        assert_eq!(read.await, Ok(1));
        let told = told.0.lock().unwrap().clone();
        assert_eq!(
            told,
            [(AwsCall::DescribeVpcs, None)],
            "what was not called is not counted"
        );
    }
}
