//! Policies for the tests.

use std::sync::Arc;

use wireglass_core::policy::{
    BlockWith, Decision, FirstContact, Policy, Ports, Profile, Rule, StartTls, Tallies,
};

use super::lab::NAME;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Decrypt,
    Bypass,
    Alert,
    Reset,
    Page,
}

/// A default, the one profile, and perhaps a rule for the server by name.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) ports: Ports,
    pub(crate) default: Action,
    pub(crate) by_name: Option<Action>,
    /// The rule by name holds first contact.
    pub(crate) hold: bool,
    pub(crate) starttls: StartTls,
    /// Rules before it.
    pub(crate) first: Vec<Rule>,
    pub(crate) profile: Profile,
    pub(crate) tallies: Tallies,
}

/// What the rule is called.
pub(crate) const RULE: &str = "by name";

impl Rules {
    pub(crate) fn default_is(default: Action) -> Self {
        Self {
            ports: Ports::Only(vec![443]),
            default,
            by_name: None,
            hold: false,
            starttls: StartTls::default(),
            first: Vec::new(),
            profile: Profile::default(),
            tallies: Tallies::default(),
        }
    }

    /// All is decrypted but what goes to the server's name.
    pub(crate) fn by_name(action: Action) -> Self {
        Self { by_name: Some(action), ..Self::default_is(Action::Decrypt) }
    }

    pub(crate) fn compile(&self) -> Policy {
        let profile = Arc::new(self.profile.clone());
        let decision = |action: Action| match action {
            Action::Decrypt => Decision::Decrypt(Arc::clone(&profile)),
            Action::Bypass => Decision::Bypass,
            Action::Alert => Decision::Block(BlockWith::Alert),
            Action::Reset => Decision::Block(BlockWith::Reset),
            Action::Page => Decision::Block(BlockWith::Page),
        };
        let by_name = self.by_name.map(|action| Rule {
            sni: vec![NAME.parse().unwrap()],
            contact: if self.hold { FirstContact::Hold } else { FirstContact::ServerFirst },
            ..Rule::new(RULE, decision(action))
        });
        let rules: Vec<_> = self.first.iter().cloned().chain(by_name).collect();
        Policy::compile(self.ports.clone(), &rules, decision(self.default))
            .with_starttls(self.starttls.clone())
            .counted_in(&self.tallies)
    }
}
