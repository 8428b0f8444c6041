//! A client of the machines: SSH, and HTTP through it.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use russh::ChannelMsg;
use russh::client::{self, Handle};
use russh::keys::ssh_key::private::{Ed25519Keypair, PrivateKey};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A key to sign in with.
pub(super) struct Key {
    private: Arc<PrivateKey>,
    pub(super) public: String,
}

impl Key {
    pub(super) fn new() -> Self {
        let private = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
        let public = private.public_key().to_openssh().expect("OpenSSH's form");
        Self {
            private: Arc::new(private),
            public,
        }
    }
}

/// Somebody on a machine.
pub(super) struct Visitor {
    handle: Handle<Seen>,
    /// Fingerprint of the machine's host key.
    pub(super) host_key: String,
}

/// How a program ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) code: u32,
    pub(super) output: String,
}

/// Notes the host key.
struct Seen(Arc<Mutex<String>>);

impl client::Handler for Seen {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            *self.0.lock().expect("nobody panics") = key.fingerprint(HashAlg::Sha256).to_string();
        }
        Ok(true)
    }
}

impl Visitor {
    /// Signs in at an address.
    pub(super) async fn enter(address: &str, key: &Key) -> Result<Self, String> {
        let stream = TcpStream::connect((address, 22))
            .await
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Self::sign_in(stream, key).await
    }

    async fn sign_in(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, key: &Key) -> Result<Self, String> {
        let seen = Arc::new(Mutex::default());
        let connected = client::connect_stream(Arc::default(), stream, Seen(Arc::clone(&seen))).await;
        let mut handle = connected.map_err(|error: russh::Error| error.to_string())?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.private), None);
        let signed_in = handle.authenticate_publickey("rayward", key).await;
        if !signed_in.map_err(|error| error.to_string())?.success() {
            return Err("the key is refused".to_owned());
        }
        let host_key = seen.lock().expect("nobody panics").clone();
        Ok(Self { handle, host_key })
    }

    /// Signs in at a machine beside this one.
    pub(super) async fn through(&self, address: &str, key: &Key) -> Result<Self, String> {
        let way = self.handle.channel_open_direct_tcpip(address, 22, "127.0.0.1", 1).await;
        Self::sign_in(way.map_err(|error| error.to_string())?.into_stream(), key).await
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Runs a program to its end.
    pub(super) async fn run(&self, line: &str, input: &str) -> Ended {
        let mut channel = self.handle.channel_open_session().await.expect("a channel");
        channel.exec(true, line).await.expect("it begins");
        channel.data(input.as_bytes()).await.expect("it reads");
        channel.eof().await.expect("it reads to the end");
        let mut ended = Ended::default();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => ended.output.push_str(&String::from_utf8_lossy(&data)),
                ChannelMsg::ExitStatus { exit_status } => ended.code = exit_status,
                _ => {}
            }
        }
        ended
    }

    /// What the machine tells of itself.
    pub(super) async fn report(&self) -> Value {
        let ended = self.run("sudo rayward-node report", "").await;
        serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// Asks the dashboard: status, and the answer if it is JSON.
    pub(super) async fn get(&self, path: &str, token: &str) -> Result<(u16, Value), String> {
        let way = self
            .handle
            .channel_open_direct_tcpip("127.0.0.1", 8265, "127.0.0.1", 1)
            .await;
        let stream = TokioIo::new(way.map_err(|error| error.to_string())?.into_stream());
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "127.0.0.1:8265");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
    }
}
