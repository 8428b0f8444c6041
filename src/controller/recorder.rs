//! Publishes Events in the background, so that no change on AWS waits for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, EventType, Reporter},
};
use tokio::sync::mpsc;

use super::{events::Event, kubernetes::in_one_line};
use crate::api::FIELD_MANAGER;

/// How many Events may wait; more are dropped, and that is logged.
const WAITING: usize = 4096;
/// How many Events are written at the same time.
const AT_ONCE: usize = 8;

/// Takes Events for a background task.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<(ObjectReference, Event)>);

impl Recorder {
    /// A recorder, and the task behind it: it ends when the last recorder is dropped and all is written.
    pub fn new(client: Client, timeout: Duration) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: None,
        };
        // One for all, since it counts repeats.
        let recorder = events::Recorder::new(client, reporter);
        let waiting = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|next| (next, receiver))
        });
        let losses = Arc::new(Losses::default());
        let task = waiting.for_each_concurrent(AT_ONCE, move |(object, event): (ObjectReference, Event)| {
            let (recorder, losses) = (recorder.clone(), Arc::clone(&losses));
            async move { write(&recorder, &losses, &object, event, timeout).await }
        });
        (Self(sender), task)
    }

    /// Has an Event about `object` written.
    pub fn publish(&self, object: &ObjectReference, event: Event) {
        if let Err(error) = self.0.try_send((object.clone(), event)) {
            tracing::warn!(%error, "an Event is not published");
        }
    }
}

/// Whether it was said that Events are lost: what makes one of them fail makes most of them fail.
#[derive(Debug, Default)]
struct Losses(AtomicBool);

impl Losses {
    /// Whether a person should hear of this one.
    fn is_news(&self, error: Option<&kube::Error>) -> bool {
        // A namespace that is going takes no Events, as it should be.
        let is_expected =
            matches!(error, Some(kube::Error::Api(status)) if status.message.contains("being terminated"));
        !is_expected && !self.0.swap(true, Ordering::Relaxed)
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn write(
    recorder: &events::Recorder,
    losses: &Losses,
    object: &ObjectReference,
    event: Event,
    timeout: Duration,
) {
    let note = event.note.clone();
    let event = events::Event {
        type_: if event.is_warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: event.reason,
        note: Some(event.note),
        action: event.action,
        secondary: None,
    };
    let (error, is_news) = match tokio::time::timeout(timeout, recorder.publish(&event, object)).await {
        Ok(Ok(())) => return losses.end(),
        Ok(Err(error)) => (in_one_line(&error), losses.is_news(Some(&error))),
        Err(_) => (format!("no answer within {timeout:?}"), losses.is_news(None)),
    };
    if is_news {
        tracing::warn!(
            error,
            note,
            "an Event was not written; does Kubernetes allow Rayward to create and patch Events of events.k8s.io? \
             Until one is written, further losses are told at level debug"
        );
    } else {
        tracing::debug!(error, note, "an Event was not written");
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn the_first_lost_event_is_news_and_the_next_after_one_was_written() {
        let losses = Losses::default();
        let refused = |message: &str| kube::Error::Api(Status::failure(message, "Forbidden").with_code(403).boxed());
        let going = refused("unable to create new content in namespace a because it is being terminated");
        assert!(!losses.is_news(Some(&going)), "as it should be");
        let forbidden = refused("events is forbidden");
        assert!(losses.is_news(Some(&forbidden)));
        assert!(!losses.is_news(Some(&forbidden)) && !losses.is_news(None));
        losses.end();
        assert!(losses.is_news(None));
    }
}
