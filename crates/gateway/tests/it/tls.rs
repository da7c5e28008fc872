//! TLS on both sides.

use crate::{config, gateway, model, route, upstream};
use std::path::{Path, PathBuf};
use steersman_gateway::{Config, Fault, Gateway, ServerTls};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data").join(name)
}

#[tokio::test]
async fn requests_are_answered_over_tls_in_and_out_and_unknown_certificates_are_refused() {
    let (one, _) = upstream("v1").await;
    let tls = ServerTls::read(&file("localhost.pem"), &file("localhost.key.pem")).unwrap();
    let (inner, _captures) = gateway(Config { tls: Some(tls), ..config() }, 10).await;
    inner.install(&model(), route(&one, None));
    let inside = format!("https://localhost:{}", inner.address().port());
    // The one in front trusts it by its certificate.
    let trusting = Config { authorities: Some(file("localhost.pem")), ..config() };
    let (outer, _captures) = gateway(trusting, 10).await;
    outer.install(&model(), route(&inside, None));
    let url = format!("http://{}/v2/models/m/infer", outer.address());
    for _ in 0..2 {
        let reply = reqwest::Client::new().post(&url).body("{}").send().await.unwrap();
        assert_eq!(reply.status(), 200);
        assert!(reply.text().await.unwrap().contains("v1"));
    }
    let (wary, _captures) = gateway(config(), 10).await;
    wary.install(&model(), route(&inside, None));
    let url = format!("http://{}/v2/models/m/infer", wary.address());
    let reply = reqwest::Client::new().post(&url).body("{}").send().await.unwrap();
    assert_eq!(reply.status(), 502);
    assert_eq!(crate::faults(&wary, Fault::Tls), 1);
    let problem = ServerTls::read(&file("localhost.key.pem"), &file("localhost.pem")).unwrap_err();
    assert!(problem.to_string().contains("there is none in it"), "{problem}");
}

#[tokio::test]
async fn what_is_trusted_is_read_before_the_first_request() {
    let missing = Config { authorities: Some(file("missing.pem")), ..config() };
    let (sender, _captures) = tokio::sync::mpsc::channel(1);
    let problem = Gateway::start(missing, sender).await.unwrap_err().to_string();
    assert!(problem.starts_with("cannot use the certificate in "), "{problem}");
}
