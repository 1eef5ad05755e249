//! The credentials of a node: a certificate that proves knowledge of the cluster secret.
//!
//! Every node derives the same certificate authority from the secret. With this authority, a node
//! signs its own certificate, which contains its node id. Peers trust no other authority, and the
//! certificate determines the sender of a message. During a rotation of the secret, a node trusts
//! the authorities of several secrets. See docs/decisions/0004-identity.md.

use std::sync::Arc;

use raft_core::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use ring::hkdf::{HKDF_SHA256, Salt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};
use webpki::EndEntityCert;

use crate::config::secret::{ClusterSecret, ClusterSecrets};

/// The application protocol on top of QUIC. An incompatible change of `proto/peer.proto` increases
/// the number.
const ALPN: &[u8] = b"raft/2";

/// The credentials of a node.
pub(crate) struct Identity {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    /// The key of stateless resets. It is the same after a restart, so that peers notice a restart
    /// at once.
    pub(crate) reset_key: [u8; 32],
}

/// The DNS name in the certificate of a node.
pub(crate) fn server_name(node: NodeId) -> String {
    format!("n{}.raft.internal", node.0)
}

/// The node id in a verified certificate.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let node = |name: &str| name.strip_prefix('n')?.strip_suffix(".raft.internal")?.parse().ok();
    certificate.valid_dns_names().find_map(node).map(NodeId)
}

/// The validity of a certificate. A running node renews its certificate every day.
const VALIDITY: Duration = Duration::days(90);
/// The largest difference between the clocks of two machines.
const CLOCK_SKEW_MAX: Duration = Duration::days(1);

/// The reason for which the credentials of a node could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum IdentityError {
    #[error("cannot make a certificate: {0}; report this as a bug")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot configure TLS: {0}; report this as a bug")]
    Tls(#[from] rustls::Error),
    #[error("cannot configure the verification of peers: {0}; report this as a bug")]
    Verifier(#[from] VerifierBuilderError),
    #[error("cannot derive a key from the cluster secret: {0}; report this as a bug")]
    Derive(ring::error::Unspecified),
}

impl Identity {
    /// Makes the credentials of a node in the cluster with these secrets.
    pub(crate) fn new(secrets: &ClusterSecrets, node: NodeId) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for secret in secrets.trusted() {
            let (authority, key) = authority(secret)?;
            roots.add(authority.self_signed(&key)?.der().clone())?;
        }
        let roots = Arc::new(roots);
        let (authority, authority_key) = authority(secrets.own())?;
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut own = CertificateParams::new(vec![server_name(node)])?;
        own.distinguished_name.push(DnType::CommonName, "raft node");
        own.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        limit_validity(&mut own);
        let certificate = own.signed_by(&key, &issuer)?;

        let chain = vec![certificate.der().clone()];
        let private = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private())?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // An attacker could replay messages that are sent before the handshake ends.
        server.max_early_data_size = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private())?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_early_data = false;
        let reset_key = derive(secrets.own(), format!("reset {}", node.0).as_bytes())?;
        Ok(Self { server, client, reset_key })
    }
}

/// The certificate authority that is derived from a secret. Nodes never send its certificate.
fn authority(secret: &ClusterSecret) -> Result<(CertificateParams, KeyPair), IdentityError> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "raft cluster");
    limit_validity(&mut authority);
    Ok((authority, derived_key(secret, b"authority")?))
}

fn limit_validity(certificate: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    certificate.not_before = now - CLOCK_SKEW_MAX;
    certificate.not_after = now + VALIDITY;
}

/// Derives 32 bytes from the secret with HKDF (RFC 5869).
fn derive(secret: &ClusterSecret, purpose: &[u8]) -> Result<[u8; 32], IdentityError> {
    let key = Salt::new(HKDF_SHA256, b"raft identity 2").extract(secret.bytes());
    let mut bytes = [0; 32];
    let derived = key.expand(&[purpose], HKDF_SHA256).and_then(|key| key.fill(&mut bytes));
    derived.map_err(IdentityError::Derive)?;
    Ok(bytes)
}

fn derived_key(secret: &ClusterSecret, purpose: &[u8]) -> Result<KeyPair, IdentityError> {
    // PKCS #8 around an Ed25519 seed (RFC 8410, section 7).
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let der = [&PREFIX[..], &derive(secret, purpose)?].concat();
    let der = PrivatePkcs8KeyDer::from(der);
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> ClusterSecret {
        ClusterSecret::generate().unwrap()
    }

    #[test]
    fn certificate_contains_node_id() {
        let key = derived_key(&secret(), b"authority").unwrap();
        let params = CertificateParams::new(vec![server_name(NodeId(77))]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(node_of(certificate.der()), Some(NodeId(77)));
        let other = CertificateParams::new(vec!["example.org".into()]).unwrap();
        assert_eq!(node_of(other.self_signed(&key).unwrap().der()), None);
    }

    #[test]
    fn same_secret_derives_same_authority() {
        let public = |secret: &ClusterSecret| {
            derived_key(secret, b"authority").unwrap().public_key_raw().to_vec()
        };
        let (one, two) = (secret(), secret());
        assert_eq!(public(&one), public(&one.clone()));
        assert_ne!(public(&one), public(&two));
    }

    #[test]
    fn certificate_is_valid_for_months_not_centuries() {
        let mut params = CertificateParams::default();
        limit_validity(&mut params);
        let now = OffsetDateTime::now_utc();
        assert!(params.not_before < now && params.not_before > now - Duration::days(2));
        assert!(params.not_after > now + Duration::days(30));
        assert!(params.not_after < now + Duration::days(366));
    }
}
