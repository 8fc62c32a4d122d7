//! The secrets of a flow's sessions, in the form that Wireshark and others read (`SSLKEYLOGFILE`), for a capture that wants them.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use rustls::{KeyLog, NoKeyLog};
use zeroize::Zeroizing;

use super::Handshake;
use crate::lock::Lock;

/// Most bytes: five lines for each leg have 2,100.
const MOST: usize = 4096;

/// Lines of a key log, ours until somebody asks for them. Whoever has them reads all that both legs say.
pub struct Secrets(Zeroizing<String>);

impl Secrets {
    /// A line for each secret, with its line feed.
    pub fn lines(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Has rustls tell the secrets of one flow.
#[derive(Default)]
pub(super) struct SecretLog(Lock<Zeroizing<String>>);

impl SecretLog {
    /// Bytes of memory that it takes.
    pub(super) const SIZE: usize = size_of::<Self>() + MOST;

    /// With room for all, so that none is left behind where it grows.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Lock::new(Zeroizing::new(String::with_capacity(MOST)))))
    }

    /// What has been told.
    pub(super) fn take(&self) -> Secrets {
        Secrets(std::mem::take(&mut *self.0.lock()))
    }
}

/// Where a session tells its secrets; nowhere, if nobody wants them.
pub(super) fn key_log(secrets: Option<&Arc<SecretLog>>) -> Arc<dyn KeyLog> {
    match secrets {
        Some(secrets) => Arc::<SecretLog>::clone(secrets),
        None => Arc::new(NoKeyLog),
    }
}

impl Handshake {
    /// Has both sessions tell their secrets. Only before it begins.
    #[must_use]
    pub(crate) fn telling_secrets(mut self) -> Self {
        self.secrets = Some(SecretLog::new());
        self
    }

    /// The secrets of both sessions, once they are established, if a capture wants them.
    pub(crate) fn take_secrets(&mut self) -> Option<Secrets> {
        self.secrets.take().map(|secrets| secrets.take())
    }
}

impl fmt::Debug for SecretLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretLog")
    }
}

impl KeyLog for SecretLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut lines = self.0.lock();
        if lines.len() + label.len() + 2 * (client_random.len() + secret.len()) + 3 > MOST {
            return;
        }
        lines.push_str(label);
        for bytes in [client_random, secret] {
            lines.push(' ');
            // A string has no errors.
            bytes.iter().for_each(|byte| write!(lines, "{byte:02x}").unwrap_or_default());
        }
        lines.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_others_read_them_and_nothing_for_the_log() {
        let log = SecretLog::new();
        log.log("CLIENT_RANDOM", &[0x0a; 32], &[0xff; 48]);
        log.log("EXPORTER_SECRET", &[1; 32], &[2; 32]);
        let secrets = log.take();
        let wanted = format!(
            "CLIENT_RANDOM {} {}\nEXPORTER_SECRET {} {}\n",
            "0a".repeat(32),
            "ff".repeat(48),
            "01".repeat(32),
            "02".repeat(32)
        );
        assert_eq!(secrets.lines(), wanted);
        assert_eq!(format!("{secrets:?} {log:?}"), "Secrets SecretLog");
        assert_eq!(log.take().lines(), "");
        for _ in 0..100 {
            log.log("CLIENT_RANDOM", &[0; 32], &[0; 48]);
        }
        assert!(log.take().lines().len() <= MOST);
    }
}
