//! The report card, as text and as JSON.

use std::error::Error;
use std::fmt::{self, Display};
use std::process::ExitCode;

use serde::Serialize;
use wireglass_core::policy::{
    ClientCertificateAction, DefectAction, EchAction, NoNameAction, Profile, TlsVersion, UnsupportedAction,
    key_of_defect,
};
use wireglass_core::reason::Reason;

use super::cases::{Case, GROUPS, Want};
use super::stage::{Ended, Outcome, Stage};
use crate::cli::plain::Plain;

/// Beside a careful profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Good,
    Careful,
    Warns,
    Weak,
}

/// From the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Grade {
    A,
    B,
    C,
    D,
    F,
}

/// What a profile makes of all cases.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    profile: String,
    grade: Grade,
    cases: Vec<Line>,
}

/// What it makes of one.
#[derive(Debug, Serialize)]
struct Line {
    group: &'static str,
    name: &'static str,
    what: &'static str,
    outcome: Outcome,
    reason: &'static str,
    /// Of the first connection, if the last one went otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<First>,
    standing: Standing,
    /// The key of the profile that decides; none: no key does.
    key: Option<&'static str>,
    /// What the profile says there.
    value: Option<&'static str>,
    #[serde(skip)]
    grade: Grade,
    #[serde(skip)]
    leaked: bool,
}

#[derive(Debug, Serialize)]
struct First {
    outcome: Outcome,
    reason: &'static str,
}

impl Card {
    pub(super) fn new(stage: &Stage<'_>, profile: &Profile) -> Result<Self, Box<dyn Error>> {
        let mut cases = Vec::new();
        for group in GROUPS {
            for case in group.cases {
                let (first, last) =
                    stage.play(case.made).map_err(|error| format!("case {}: {error}", case.name))?;
                cases.push(Line::new(group.title, case, profile, first, last));
            }
        }
        let grade = cases.iter().map(|line| line.grade).max().unwrap_or(Grade::A);
        Ok(Self { profile: profile.name.clone(), grade, cases })
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.grade != Grade::A))
    }
}

impl Line {
    fn new(group: &'static str, case: &Case, profile: &Profile, first: Ended, last: Ended) -> Self {
        let (standing, grade) = judged(case.want, last.outcome);
        let leaked = first.leaked || last.leaked;
        let (standing, grade) = if leaked { (Standing::Weak, Grade::F) } else { (standing, grade) };
        let key = key_behind(case, profile, last.reason);
        let is_same = (first.outcome, first.reason) == (last.outcome, last.reason);
        Self {
            group,
            name: case.name,
            what: case.what,
            outcome: last.outcome,
            reason: last.reason.code(),
            first: (!is_same).then(|| First { outcome: first.outcome, reason: first.reason.code() }),
            standing,
            key,
            value: key.and_then(|key| value(profile, key)),
            grade,
            leaked,
        }
    }
}

/// The key that decides: that of the reason, or else the case's own.
fn key_behind(case: &Case, profile: &Profile, reason: Reason) -> Option<&'static str> {
    let is_version = matches!(reason, Reason::VersionUnsupportedClient | Reason::VersionUnsupportedServer);
    match case.want {
        Want::Decrypt if is_version && profile.max_version == TlsVersion::Tls12 => Some("max_version"),
        Want::Decrypt if is_version => Some("min_version"),
        _ => key_of_defect(reason).or(case.key),
    }
}

fn judged(want: Want, outcome: Outcome) -> (Standing, Grade) {
    match (want, outcome) {
        (Want::Decrypt, Outcome::Decrypted) => (Standing::Good, Grade::A),
        (Want::Decrypt, Outcome::Marked | Outcome::Blocked) => (Standing::Careful, Grade::A),
        (_, Outcome::Blocked) => (Standing::Good, Grade::A),
        (_, Outcome::Marked) => (Standing::Warns, Grade::B),
        (Want::RefuseLapse, Outcome::Decrypted) => (Standing::Weak, Grade::C),
        (Want::RefuseImpostor, Outcome::Decrypted) => (Standing::Weak, Grade::F),
        (_, Outcome::Bypassed) => (Standing::Weak, Grade::D),
    }
}

/// What the profile says, as the configuration writes it.
fn value(profile: &Profile, key: &str) -> Option<&'static str> {
    let defect = |action| match action {
        DefectAction::Allow => "allow",
        DefectAction::UntrustedCa => "untrusted-ca",
        DefectAction::Block => "block",
    };
    let unsupported = |action| match action {
        UnsupportedAction::Block => "block",
        UnsupportedAction::Bypass => "bypass",
    };
    let version = |version| match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    Some(match key {
        "on_untrusted" => defect(profile.on_untrusted),
        "on_self_signed" => defect(profile.on_self_signed),
        "on_expired" => defect(profile.on_expired),
        "on_not_yet_valid" => defect(profile.on_not_yet_valid),
        "on_name_mismatch" => defect(profile.on_name_mismatch),
        "on_usage" => defect(profile.on_usage),
        "on_unsupported_certificate" => defect(profile.on_unsupported_certificate),
        "on_revoked" => defect(profile.on_revoked),
        "on_revocation_unknown" => defect(profile.on_revocation_unknown),
        "on_must_staple" => defect(profile.on_must_staple),
        "on_no_sct" => defect(profile.on_no_sct),
        "on_no_name" => match profile.on_no_name {
            NoNameAction::ServerNames => "server_names",
            NoNameAction::Block => "block",
        },
        "on_unsupported" => unsupported(profile.on_unsupported),
        "on_pinned" => unsupported(profile.on_pinned),
        "on_client_certificate" => match profile.on_client_certificate {
            ClientCertificateAction::Empty => "empty",
            ClientCertificateAction::Bypass => "bypass",
            ClientCertificateAction::Block => "block",
        },
        "on_ech" => match profile.on_ech {
            EchAction::Inspect => "inspect",
            EchAction::Block => "block",
            EchAction::Bypass => "bypass",
        },
        "min_version" => version(profile.min_version),
        "max_version" => version(profile.max_version),
        _ => return None,
    })
}

impl Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile {}", Plain(&self.profile))?;
        let mut group = "";
        for line in &self.cases {
            if line.group != group {
                group = line.group;
                write!(f, "\n\n{group}")?;
            }
            write!(f, "\n  {line}")?;
        }
        let count = |standing| self.cases.iter().filter(|line| line.standing == standing).count();
        let counts = [Standing::Good, Standing::Careful, Standing::Warns, Standing::Weak]
            .map(|standing| (count(standing), standing.name()))
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        writeln!(f, "\n\n{} cases: {counts}\nGrade {:?}: {}", self.cases.len(), self.grade, self.grade.help())
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (standing, outcome) = (self.standing.name(), self.outcome.name());
        write!(f, "{standing:<8}{outcome:<10} {:<24} {}", self.reason, self.what)?;
        if let Some(First { outcome, reason }) = &self.first {
            write!(f, "\n{:10}at first {} ({reason})", "", outcome.name())?;
        }
        if self.leaked {
            write!(f, "\n{:10}the server got the client's request all the same: please report it", "")?;
        }
        match (self.standing, self.key, self.value) {
            (Standing::Good, ..) => Ok(()),
            (standing, Some(key), Some(value)) => {
                let does = match (standing, self.outcome) {
                    (Standing::Careful, _) => "is why",
                    (_, Outcome::Bypassed) => "lets it pass unread",
                    (_, Outcome::Marked) => "leaves it to the user",
                    _ => "lets it through",
                };
                write!(f, "\n{:10}{key} = \"{value}\" {does}", "")
            }
            _ => write!(f, "\n{:10}no key of a profile is behind it: please report it", ""),
        }
    }
}

impl Standing {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Careful => "careful",
            Self::Warns => "warns",
            Self::Weak => "weak",
        }
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Decrypted => "decrypted",
            Self::Marked => "marked",
            Self::Bypassed => "bypassed",
            Self::Blocked => "blocked",
        }
    }
}

impl Grade {
    fn help(self) -> &'static str {
        match self {
            Self::A => "nothing gets through that a careful profile refuses",
            Self::B => "users are warned of servers that a careful profile keeps them away from",
            Self::C => "lapses of servers get through without a word",
            Self::D => "what cannot be read passes unread",
            Self::F => "somebody who is not the server gets through without a word",
        }
    }
}
