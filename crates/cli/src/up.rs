//! `steersman up`.

use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use steersman_server::{Platform, api};

/// Serves API and pages of a platform in the background; returns where.
pub(crate) async fn serve_pages(platform: &Platform, listen: SocketAddr) -> Result<SocketAddr> {
    ensure!(
        listen.ip().is_loopback(),
        "{listen} can be reached by others, and nobody signs in yet: listen on 127.0.0.1 and put a proxy with sign-in in front"
    );
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another address with `--listen ADDR:PORT`"))?;
    let address = listener.local_addr()?;
    let routes = api::router(platform.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
