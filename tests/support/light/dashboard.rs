//! A head's dashboard: which request gets which answer, and who may ask.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, future::ready, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use super::Light;
use super::answers::{self, Question};
use super::manner::Manner;
use super::trouble::Trouble;

type Body = BoxBody<Bytes, io::Error>;

/// How long the first half of an answer takes to leave.
const FLUSH: Duration = Duration::from_millis(20);
/// Paths that need no token.
const OPEN: [&str; 3] = ["/", "/api/gcs_healthz", "/api/authentication_mode"];
/// Paths that are answered while the GCS is dead.
const WITHOUT_GCS: [&str; 3] = ["/", "/api/version", "/api/authentication_mode"];

/// Answers the requests of one connection.
pub(super) async fn serve(light: Arc<Light>, head: String, stream: impl Read + Write + Unpin + Send + 'static) {
    let service = service_fn(|request| answer(Arc::clone(&light), head.clone(), request));
    // A connection that ends in the middle is the client's affair.
    let _ = http1::Builder::new().serve_connection(stream, service).await;
}

/// What to do with a request.
enum Decision {
    /// The connection ends: nobody is there any more.
    End,
    /// No answer.
    Hang,
    Answer(Duration, StatusCode, String, Option<Manner>),
}

async fn answer(light: Arc<Light>, head: String, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    light.calm(&head).await;
    light.look().await;
    let path = request.uri().path().to_owned();
    match decide(
        &light,
        &head,
        &path,
        request.uri().query().unwrap_or_default(),
        request.headers(),
    ) {
        Decision::End => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        Decision::Hang => std::future::pending().await,
        Decision::Answer(delay, status, text, manner) => {
            tokio::time::sleep(delay).await;
            Ok(response(status, text, manner))
        }
    }
}

fn decide(light: &Light, head: &str, path: &str, query: &str, headers: &HeaderMap) -> Decision {
    light.with(|state| {
        *state.counts.requests.entry(path.to_owned()).or_default() += 1;
        let (Some(node), Some(ray)) = (state.nodes.get(head), state.rays.get(head)) else {
            return Decision::End;
        };
        if node.has(&Trouble::Dashboard) {
            return Decision::End;
        }
        if node.has(&Trouble::Gcs) && !WITHOUT_GCS.contains(&path) {
            return match path {
                "/api/gcs_healthz" => plain(StatusCode::SERVICE_UNAVAILABLE, "Health check failed"),
                _ => Decision::Hang,
            };
        }
        let manner = state.manner(head, path);
        match manner {
            Some(Manner::Hang) => return Decision::Hang,
            Some(Manner::Status(status)) => {
                return plain(
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    "",
                );
            }
            _ => {}
        }
        if !OPEN.contains(&path) {
            let given = headers
                .get(AUTHORIZATION)
                .or_else(|| headers.get("x-ray-authorization"));
            let given = given.and_then(|given| given.to_str().ok()?.strip_prefix("Bearer "));
            match given {
                None => return plain(StatusCode::UNAUTHORIZED, "Unauthorized: Missing authentication token"),
                Some(given) if given != ray.token => {
                    return plain(StatusCode::FORBIDDEN, "Forbidden: Invalid authentication token");
                }
                Some(_) => {}
            }
        }
        let question = Question { head, query, manner };
        let text = match path {
            "/" | "/api/gcs_healthz" => "success".to_owned(),
            "/api/authentication_mode" => json!({"authentication_mode": "token"}).to_string(),
            "/api/version" => answers::version(state, ray, &question).to_string(),
            "/api/v0/nodes" => answers::nodes(state, ray, &question).to_string(),
            "/api/jobs/" => answers::jobs(state, ray, &question).to_string(),
            "/api/v0/actors" => answers::actors(state, ray, &question).to_string(),
            "/api/serve/applications/" => answers::applications(state, &question).to_string(),
            "/api/cluster_status" => answers::cluster_status(state, ray, &question).to_string(),
            _ => return plain(StatusCode::NOT_FOUND, "404: Not Found"),
        };
        let delay = match manner {
            Some(Manner::Slow(delay)) => delay,
            _ => Duration::ZERO,
        };
        Decision::Answer(delay, StatusCode::OK, text, manner)
    })
}

fn plain(status: StatusCode, text: &str) -> Decision {
    Decision::Answer(Duration::ZERO, status, text.to_owned(), None)
}

fn response(status: StatusCode, text: String, manner: Option<Manner>) -> Response<Body> {
    let kind = if text.starts_with(['{', '[']) {
        "application/json"
    } else {
        "text/plain"
    };
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
    let whole = |text: String| {
        Full::new(Bytes::from(text))
            .map_err(|never: Infallible| match never {})
            .boxed()
    };
    let response = match manner {
        Some(Manner::Garbage) => response.body(whole("<html>It works!</html>".to_owned())),
        Some(Manner::Half) => {
            let half = Bytes::from(text.clone().into_bytes()).slice(..text.len() / 2);
            let broken = io::Error::from(io::ErrorKind::ConnectionReset);
            // What is sent last before an end is lost with it, unless it had time to leave.
            let end = async move {
                tokio::time::sleep(FLUSH).await;
                Err(broken)
            };
            let parts = stream::once(ready(Ok(Frame::data(half)))).chain(stream::once(end));
            let body = BodyExt::boxed(StreamBody::new(parts));
            response.header(CONTENT_LENGTH, text.len()).body(body)
        }
        _ => response.body(whole(text)),
    };
    response.expect("a status and a header make a response")
}
