//! Servers of which it is known that their clients accept no other certificate: what `init` leaves out, and what a report warns of.

/// Servers whose clients take no certificate but their makers', as these say themselves.
pub(super) const PINNED: [(&str, &str, &[&str]); 4] = [
    (
        "pinned: Apple",
        "https://support.apple.com/101555",
        &["*.apple.com", "*.apple-cloudkit.com", "*.cdn-apple.com", "*.icloud.com", "*.mzstatic.com"],
    ),
    (
        "pinned: Windows",
        "https://learn.microsoft.com/windows/privacy/manage-windows-11-endpoints",
        &[
            "*.windowsupdate.com",
            "*.update.microsoft.com",
            "*.delivery.mp.microsoft.com",
            "*.dsp.mp.microsoft.com",
            "*.wns.windows.com",
            "*.manage.microsoft.com",
            "*.dm.microsoft.com",
        ],
    ),
    (
        "pinned: Android",
        "https://support.google.com/work/android/answer/10513641",
        &["android.clients.google.com", "mtalk.google.com", "play.googleapis.com"],
    ),
    (
        "pinned: messengers",
        "https://support.signal.org/hc/articles/360007320291",
        &["*.signal.org", "*.whispersystems.org", "*.whatsapp.net"],
    ),
];

/// What a server of this name belongs to, if it is such a one.
pub(super) fn pinned_by(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let is = |pattern: &str| match pattern.strip_prefix('*') {
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => name == pattern,
    };
    let (group, ..) = PINNED.iter().find(|(_, _, names)| names.iter().any(|pattern| is(pattern)))?;
    group.strip_prefix("pinned: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_and_whole_names() {
        assert_eq!(pinned_by("gateway.iCloud.com"), Some("Apple"));
        assert_eq!(pinned_by("mtalk.google.com"), Some("Android"));
        assert_eq!(
            [pinned_by("www.google.com"), pinned_by(".icloud.com"), pinned_by("noticloud.com")],
            [None; 3]
        );
    }
}
