//! Policies for the tests.

use std::sync::Arc;

use wireglass::policy::{BlockWith, Decision, Policy, Profile, StubRule};

/// A rule: what it matches, and what it says.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) port: Option<u16>,
    pub(crate) sni: Option<&'static str>,
    pub(crate) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Decrypt,
    Bypass,
    Alert,
    Reset,
}

/// Rules, a default and the one profile.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) any_port: bool,
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Action,
    pub(crate) profile: Profile,
}

impl Rules {
    pub(crate) fn default_is(default: Action) -> Self {
        Self { any_port: false, rules: Vec::new(), default, profile: Profile::default() }
    }

    pub(crate) fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    pub(crate) fn compile(&self) -> Policy {
        let profile = Arc::new(self.profile.clone());
        let decision = |action: Action| match action {
            Action::Decrypt => Decision::Decrypt(Arc::clone(&profile)),
            Action::Bypass => Decision::Bypass,
            Action::Alert => Decision::Block(BlockWith::Alert),
            Action::Reset => Decision::Block(BlockWith::Reset),
        };
        let rules = self.rules.iter().map(|rule| StubRule {
            name: rule.name.to_owned(),
            port: rule.port,
            sni: rule.sni.map(str::to_owned),
            decision: decision(rule.action),
        });
        Policy { any: self.any_port, rules: rules.collect(), default: decision(self.default) }
    }
}
