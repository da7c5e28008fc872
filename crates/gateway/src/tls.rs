//! TLS by rustls with ring: certificates for callers, and which certificates of model servers are trusted.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use steersman_domain::{ErrorKind, Problem};

/// The certificate that callers are shown.
#[derive(Debug, Clone)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

impl ServerTls {
    /// Reads a chain of certificates and its key, both PEM.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, Problem> {
        let chain = read_certificates(certificates)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unreadable("private key", key, &error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|error| unreadable("private key", key, &error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// What is trusted when model servers are asked over TLS.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

impl ClientTls {
    /// Trusts the certificates that this machine trusts, and those of `authorities`, PEM.
    pub fn read(authorities: Option<&Path>) -> Result<Self, Problem> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = authorities {
            for certificate in read_certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| unreadable("certificate", path, &error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Problem::internal(error.to_string()))?;
        let mut http1 = builder.with_root_certificates(roots).with_no_client_auth();
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { http1: Arc::new(http1), http2: Arc::new(http2) })
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable("certificate", path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("certificate", path, "there is none in it"));
    }
    Ok(certificates)
}

fn unreadable(what: &str, path: &Path, why: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, format!("cannot use the {what} in `{}`: {why}", path.display()))
        .hint("a PEM file is needed, as `openssl` and `certbot` write it")
}
