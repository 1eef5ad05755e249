//! The reasons for which two nodes have no connection.

use quinn::{ApplicationClose, ConnectionError, TransportErrorCode};

use crate::peer::NOT_A_MEMBER;

/// The reason for which a connection failed or was closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerRefusal {
    #[error(
        "one of the two nodes belongs to another cluster or has another cluster secret ({0}); check \
         the secrets of both"
    )]
    Certificate(ConnectionError),
    #[error("the two nodes have different versions of the peer protocol; update the older one")]
    Protocol,
    #[error(
        "the peer refuses this node, which is not a member of the cluster of the peer; check \
         --peers of the peer and --advertise of this node"
    )]
    NotAMember,
    #[error("{0}")]
    Other(ConnectionError),
}

impl PeerRefusal {
    /// Returns true if only an operator can remove the reason, so a retry soon cannot help.
    pub(crate) fn is_permanent(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl From<ConnectionError> for PeerRefusal {
    fn from(error: ConnectionError) -> Self {
        /// The alerts with which TLS refuses a certificate (RFC 8446, section 6.2): bad,
        /// unsupported, revoked, expired or unknown certificate, unknown authority, access denied,
        /// wrong signature, missing certificate.
        const CERTIFICATE: [u8; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];
        /// The alert for a client that offers only unknown application protocols (RFC 7301).
        const NO_APPLICATION_PROTOCOL: u8 = 120;
        let code = match &error {
            ConnectionError::TransportError(error) => error.code,
            ConnectionError::ConnectionClosed(close) => close.error_code,
            ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. })
                if *error_code == NOT_A_MEMBER =>
            {
                return Self::NotAMember;
            }
            _ => return Self::Other(error),
        };
        let is_alert = |alert: u8| code == TransportErrorCode::crypto(alert);
        if CERTIFICATE.into_iter().any(is_alert) {
            Self::Certificate(error)
        } else if is_alert(NO_APPLICATION_PROTOCOL) {
            Self::Protocol
        } else {
            Self::Other(error)
        }
    }
}
