//! `/metrics`, `/healthz` and `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{controller::Readiness, metrics::Metrics};

/// What the pages show.
#[derive(Clone, Debug)]
pub struct Pages {
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Whether the caches are in.
    pub readiness: Readiness,
}

/// Takes the address.
///
/// # Errors
/// When it cannot be had, with what to do.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; give another address with --admin-address"))?;
    let bound = listener.local_addr().unwrap_or(address);
    tracing::info!(address = %bound, "serving /metrics, /healthz and /readyz");
    Ok(listener)
}

/// Serves the pages until `stop`.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    match pages.metrics.text() {
        Ok(text) => (
            StatusCode::OK,
            [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [("content-type", "text/plain; charset=utf-8")],
            format!("{error}\n"),
        ),
    }
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    match pages.readiness.missing() {
        None => (StatusCode::OK, "ok"),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_not_ready_before_the_objects_are_read() {
        let pages = Pages {
            metrics: Arc::new(Metrics::new().unwrap()),
            readiness: Readiness::default(),
        };
        let (code, text) = ready(State(pages)).await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("RayClusters"), "{text}");
    }
}
