//! `[profile.NAME]`: how strict a decrypted flow is handled.

use std::collections::BTreeMap;
use std::sync::Arc;

use wireglass_core::policy::{
    ClientCertificateAction, DefectAction, NoNameAction, Profile, TlsVersion, UnsupportedAction,
};

use crate::config::near::nearest;
use crate::config::reader::{Table, Value};

/// The profile of those who name none; it exists whether it is configured or not.
pub(super) const DEFAULT: &str = "default";

const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
const DEFECT_ACTIONS: &[(&str, DefectAction)] = &[
    ("block", DefectAction::Block),
    ("untrusted-ca", DefectAction::UntrustedCa),
    ("allow", DefectAction::Allow),
];
const NO_NAME_ACTIONS: &[(&str, NoNameAction)] =
    &[("server_names", NoNameAction::ServerNames), ("block", NoNameAction::Block)];
const UNSUPPORTED_ACTIONS: &[(&str, UnsupportedAction)] =
    &[("block", UnsupportedAction::Block), ("bypass", UnsupportedAction::Bypass)];
const CLIENT_CERTIFICATE_ACTIONS: &[(&str, ClientCertificateAction)] = &[
    ("empty", ClientCertificateAction::Empty),
    ("bypass", ClientCertificateAction::Bypass),
    ("block", ClientCertificateAction::Block),
];

/// All profiles by name.
pub(in crate::config) struct Profiles(BTreeMap<String, Arc<Profile>>);

impl Profiles {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let mut profiles = BTreeMap::from([(DEFAULT.to_owned(), Arc::new(Profile::default()))]);
        for (name, table) in table.named_tables() {
            profiles.insert(name.to_owned(), Arc::new(read_profile(name, table)));
        }
        Self(profiles)
    }

    /// The profile that a value names.
    pub(in crate::config) fn named_by(&self, value: Option<&Value<'_>>) -> Option<Arc<Profile>> {
        let name = match value {
            Some(value) => value.text()?,
            None => DEFAULT,
        };
        let profile = self.0.get(name);
        if let (None, Some(value)) = (profile, value) {
            let hint = nearest(name, self.0.keys().map(String::as_str))
                .map(|near| format!(" (did you mean {near:?}?)"))
                .unwrap_or_default();
            value.say(format!("no `[profile.{name}]` in this file{hint}"));
        }
        profile.cloned()
    }

    /// Whether one of them wants timestamps of CT logs.
    pub(in crate::config) fn want_timestamps(&self) -> bool {
        self.0.values().any(|profile| profile.on_no_sct != DefectAction::Allow)
    }

    pub(in crate::config) fn into_list(self) -> Vec<Arc<Profile>> {
        self.0.into_values().collect()
    }
}

fn read_profile(name: &str, table: Table<'_>) -> Profile {
    let default = Profile::default();
    let defect = |key, default| table.choice(key, DEFECT_ACTIONS, default);
    let profile = Profile {
        name: name.to_owned(),
        min_version: table.choice("min_version", VERSIONS, default.min_version),
        max_version: table.choice("max_version", VERSIONS, default.max_version),
        on_untrusted: defect("on_untrusted", default.on_untrusted),
        on_self_signed: defect("on_self_signed", default.on_self_signed),
        on_expired: defect("on_expired", default.on_expired),
        on_not_yet_valid: defect("on_not_yet_valid", default.on_not_yet_valid),
        on_name_mismatch: defect("on_name_mismatch", default.on_name_mismatch),
        on_no_name: table.choice("on_no_name", NO_NAME_ACTIONS, default.on_no_name),
        on_usage: defect("on_usage", default.on_usage),
        on_unsupported_certificate: defect("on_unsupported_certificate", default.on_unsupported_certificate),
        on_revoked: defect("on_revoked", default.on_revoked),
        on_revocation_unknown: defect("on_revocation_unknown", default.on_revocation_unknown),
        on_must_staple: defect("on_must_staple", default.on_must_staple),
        on_no_sct: defect("on_no_sct", default.on_no_sct),
        on_unsupported: table.choice("on_unsupported", UNSUPPORTED_ACTIONS, default.on_unsupported),
        on_client_certificate: table.choice(
            "on_client_certificate",
            CLIENT_CERTIFICATE_ACTIONS,
            default.on_client_certificate,
        ),
        on_pinned: table.choice("on_pinned", UNSUPPORTED_ACTIONS, default.on_pinned),
        http: table.boolean("http", default.http),
        resumption: table.boolean("resumption", default.resumption),
        max_days: table.integer("max_days", 1..=3650, default.max_days),
    };
    if profile.min_version > profile.max_version
        && let Some(value) = table.value("min_version", "\"1.2\"")
    {
        value.expected("a version that is not above max_version");
    }
    table.finish();
    profile
}
