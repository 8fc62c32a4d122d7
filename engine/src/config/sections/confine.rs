//! `[confine]`: what the engine gives up after its start.

use nix::unistd::{Group, User};

use crate::config::reader::{Table, Value};
use crate::confine::Mode;

/// `[confine]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confine {
    /// How far threads are confined.
    pub mode: Mode,
    /// Whom the engine changes to when its ports are open; none: it stays who it is.
    pub user: Option<Account>,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// Number of the group: the user's own, unless the configuration has another.
    pub gid: u32,
}

impl Confine {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let mode = table.choice("mode", &Mode::NAMED, Mode::default());
        let user = table.value("user", "none").and_then(|value| account(&value));
        let group = table.value("group", "none").and_then(|value| Some((group(&value)?, value)));
        let user = match (user, group) {
            (Some(user), Some((gid, _))) => Some(Account { gid, ..user }),
            (None, Some((_, value))) => {
                value.say("expected `confine.user` beside it");
                None
            }
            (user, None) => user,
        };
        table.finish();
        Self { mode, user }
    }
}

fn account(value: &Value<'_>) -> Option<Account> {
    let name = value.text()?;
    match User::from_name(name) {
        Ok(Some(user)) => Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) | Err(_) => {
            value.say(format!("expected a user of this machine, found {name:?}: useradd --system {name}"));
            None
        }
    }
}

/// The number of a group of this machine.
pub(super) fn group(value: &Value<'_>) -> Option<u32> {
    let name = value.text()?;
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        Ok(None) | Err(_) => {
            value.say(format!("expected a group of this machine, found {name:?}: groupadd --system {name}"));
            None
        }
    }
}
