//! Who may speak in the cluster: whoever knows its secret.
//!
//! From the secret every node derives the same certificate authority; with it, a node signs a
//! certificate for itself that names its number. Peers trust nobody else, and take a message's
//! sender from the certificate. See docs/decisions/0004-identity.md.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;

use raft_core::NodeId;
use rand::TryRng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What the nodes speak on top of QUIC; a later, incompatible protocol gets another name.
const ALPN: &[u8] = b"raft/1";

/// A node's credentials.
pub(crate) struct Identity {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    /// Keeps connections of an earlier life of the node recognizable, so that its peers notice the
    /// restart at once.
    pub(crate) reset_key: [u8; 32],
}

/// The name under which a node's certificate is valid.
pub(crate) fn server_name(node: NodeId) -> String {
    format!("n{}.raft.internal", node.0)
}

/// The node that a certificate, already verified, was made for.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => {
            name.strip_prefix('n')?.strip_suffix(".raft.internal")?.parse().ok().map(NodeId)
        }
        _ => None,
    })
}

impl Identity {
    /// The credentials of a node in the cluster that has this secret.
    pub(crate) fn new(secret: &[u8], node: NodeId) -> Result<Self, String> {
        let text = |error: rcgen::Error| error.to_string();
        let authority_key = derived_key(secret, b"authority")?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "raft cluster");
        let authority_certificate = authority.self_signed(&authority_key).map_err(text)?;
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(text)?;
        let mut own = CertificateParams::new(vec![server_name(node)]).map_err(text)?;
        own.distinguished_name.push(DnType::CommonName, "raft node");
        own.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = own.signed_by(&key, &issuer).map_err(text)?;

        let chain = vec![certificate.der().clone()];
        let private = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(authority_certificate.der().clone()).map_err(|error| error.to_string())?;
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private())
            .map_err(|error| error.to_string())?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Messages that are sent before the handshake ends could be repeated by anybody.
        server.max_early_data_size = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private())
            .map_err(|error| error.to_string())?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_early_data = false;
        let reset_key = derive(secret, format!("reset {}", node.0).as_bytes());
        Ok(Self { server, client, reset_key })
    }
}

/// 32 bytes that follow from the secret, and from which it does not.
fn derive(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, &[b"raft identity 1: ", purpose].concat());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn derived_key(secret: &[u8], purpose: &[u8]) -> Result<KeyPair, String> {
    // PKCS #8 around an Ed25519 seed (RFC 8410, section 7).
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let der = [&PREFIX[..], &derive(secret, purpose)].concat();
    let der = PrivatePkcs8KeyDer::from(der);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).map_err(|error| error.to_string())
}

/// The secret of this user's own clusters on this machine. It is made when it is first needed,
/// readable by the user alone.
pub(crate) fn development_secret() -> Result<Vec<u8>, String> {
    let path = development_path()?;
    let directory = path.parent().ok_or("no directory for the development secret")?;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(directory).map_err(failed)?;
    match fs::read(&path) {
        Ok(secret) => return checked(secret, &path),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut secret = [0_u8; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut secret).map_err(|error| error.to_string())?;
    // Nodes that start together agree on whichever file gets the name first.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(&secret).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(secret.to_vec()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            checked(fs::read(&path).map_err(failed)?, &path)
        }
        Err(error) => Err(failed(error.error)),
    }
}

fn checked(secret: Vec<u8>, path: &std::path::Path) -> Result<Vec<u8>, String> {
    if secret.len() == 32 {
        return Ok(secret);
    }
    Err(format!("{} is damaged: remove it, and a new one is made", path.display()))
}

fn development_path() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_DATA_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base =
        base.or_else(home).ok_or("neither XDG_DATA_HOME nor HOME is set: use --cluster-secret")?;
    Ok(base.join("raft").join("development-secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_node() {
        let key = derived_key(b"secret", b"authority").unwrap();
        let params = CertificateParams::new(vec![server_name(NodeId(77))]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(node_of(certificate.der()), Some(NodeId(77)));
        let other = CertificateParams::new(vec!["example.org".into()]).unwrap();
        assert_eq!(node_of(other.self_signed(&key).unwrap().der()), None);
    }

    #[test]
    fn all_who_know_the_secret_derive_the_same_authority() {
        let public =
            |secret: &[u8]| derived_key(secret, b"authority").unwrap().public_key_raw().to_vec();
        assert_eq!(public(b"one"), public(b"one"));
        assert_ne!(public(b"one"), public(b"two"));
    }
}
