//! Publishes Events in the background, so that no change on AWS waits for one.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, EventType, Reporter},
};
use tokio::sync::mpsc;

use super::events::Event;
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
        let task = waiting.for_each_concurrent(AT_ONCE, move |(object, event): (ObjectReference, Event)| {
            let recorder = recorder.clone();
            async move { write(&recorder, &object, event, timeout).await }
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

async fn write(recorder: &events::Recorder, object: &ObjectReference, event: Event, timeout: Duration) {
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
    match tokio::time::timeout(timeout, recorder.publish(&event, object)).await {
        Ok(Ok(())) => {}
        // A namespace that is going takes no Events; the log has the same line.
        Ok(Err(error)) => tracing::debug!(%error, note, "an Event was refused"),
        Err(_) => tracing::debug!(note, "an Event was not published in time"),
    }
}
