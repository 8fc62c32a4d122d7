//! The crypto providers: aws-lc-rs and ring, as built in, picked at run time.

use rustls::crypto::CryptoProvider;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("wireglass needs a crypto provider: feature `aws-lc-rs` or `ring`");

/// Which library does the cryptography.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// AWS-LC: fastest, and the only one with X25519MLKEM768.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
    /// ring: a smaller build; no post-quantum groups, and RSA leaf keys only where aws-lc-rs is built in too.
    #[cfg(feature = "ring")]
    Ring,
}

impl Provider {
    /// All that are built in, the default first.
    pub const BUILT_IN: &'static [Self] = &[
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLcRs,
        #[cfg(feature = "ring")]
        Self::Ring,
    ];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => "aws-lc-rs",
            #[cfg(feature = "ring")]
            Self::Ring => "ring",
        }
    }

    pub(crate) fn load(self) -> CryptoProvider {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => super::hkdf::provider(),
            #[cfg(feature = "ring")]
            Self::Ring => rustls::crypto::ring::default_provider(),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self::BUILT_IN[0]
    }
}
