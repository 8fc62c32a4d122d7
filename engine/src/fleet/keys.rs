//! Where things lie in etcd. The prefix of an engine is its own: a role of etcd's can bound what it may write.
//!
//! ```text
//! /wireglass/FLEET/v1/policy/generation/N      a generation: its files, by hash                        an operator writes
//! /wireglass/FLEET/v1/policy/rollout           the roll-out in progress, or the last one               all write
//! /wireglass/FLEET/v1/policy/active            the generation that engines go by                       all write
//! /wireglass/FLEET/v1/drain/NAME               this engine is to be drained                            an operator writes
//! /wireglass/FLEET/v1/tickets                  the sealed secret of tickets                            all write
//! /wireglass/FLEET/v1/engine/NAME/presence     it is there, and how it is         with a lease         the engine writes
//! /wireglass/FLEET/v1/engine/NAME/ack          what it makes of a generation      with a lease         the engine writes
//! /wireglass/FLEET/v1/engine/NAME/exclusion/ID a server that it cannot decrypt    with a lease         the engine writes
//! /wireglass/FLEET/v1/engine/NAME/chain/ID     a chain that it has verified       with a lease         the engine writes
//! /wireglass/FLEET/v1/engine/NAME/costly       servers that were costly to verify with a lease         the engine writes
//! /wireglass/FLEET/blob/v1/SHA256/PART         pieces of files                                         an operator writes
//! ```
//! Blobs have a prefix of their own, so that whoever watches the rest is not sent them.

/// The keys of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    base: String,
    blobs: String,
}

/// What a key is, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A generation of policy.
    Generation(u64),
    /// The roll-out.
    Rollout,
    /// The generation in force.
    Active,
    /// This engine is to be drained.
    Drain(String),
    /// The secret of tickets, sealed.
    Tickets,
    /// This engine is there.
    Presence(String),
    /// What this engine makes of a generation.
    Ack(String),
    /// A server that this engine cannot decrypt, and by what it calls it.
    Exclusion(String, String),
    /// A chain that it has verified, sealed; likewise.
    Chain(String, String),
    /// Servers whose chains were costly to verify for it.
    Costly(String),
}

impl Keys {
    /// Those of a fleet with this name.
    pub fn of(fleet: &str) -> Self {
        Self { base: format!("/wireglass/{fleet}/v1/"), blobs: format!("/wireglass/{fleet}/blob/v1/") }
    }

    /// What all keys but those of blobs begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the keys of all engines begin with.
    pub fn engines(&self) -> String {
        format!("{}engine/", self.base)
    }

    /// What the keys of all blobs begin with.
    pub fn blobs(&self) -> &str {
        &self.blobs
    }

    /// A piece of a file.
    pub fn blob(&self, sha256: &str, part: u32) -> String {
        format!("{}{sha256}/{part:05}", self.blobs)
    }

    /// The key of something.
    pub fn key(&self, place: &Place) -> String {
        let base = &self.base;
        match place {
            Place::Generation(number) => format!("{base}policy/generation/{number}"),
            Place::Rollout => format!("{base}policy/rollout"),
            Place::Active => format!("{base}policy/active"),
            Place::Drain(name) => format!("{base}drain/{name}"),
            Place::Tickets => format!("{base}tickets"),
            Place::Presence(name) => format!("{base}engine/{name}/presence"),
            Place::Ack(name) => format!("{base}engine/{name}/ack"),
            Place::Exclusion(name, id) => format!("{base}engine/{name}/exclusion/{id}"),
            Place::Chain(name, id) => format!("{base}engine/{name}/chain/{id}"),
            Place::Costly(name) => format!("{base}engine/{name}/costly"),
        }
    }

    /// What a key is; none: nothing that this version knows.
    pub fn place(&self, key: &str) -> Option<Place> {
        let mut parts = key.strip_prefix(&self.base)?.split('/');
        let place = match (parts.next()?, parts.next(), parts.next()) {
            ("policy", Some("generation"), Some(number)) => Place::Generation(number.parse().ok()?),
            ("policy", Some("rollout"), None) => Place::Rollout,
            ("policy", Some("active"), None) => Place::Active,
            ("drain", Some(name), None) => Place::Drain(named(name)?),
            ("tickets", None, None) => Place::Tickets,
            ("engine", Some(name), Some("presence")) => Place::Presence(named(name)?),
            ("engine", Some(name), Some("ack")) => Place::Ack(named(name)?),
            ("engine", Some(name), Some("exclusion")) => {
                Place::Exclusion(named(name)?, named(parts.next()?)?)
            }
            ("engine", Some(name), Some("chain")) => Place::Chain(named(name)?, named(parts.next()?)?),
            ("engine", Some(name), Some("costly")) => Place::Costly(named(name)?),
            _ => return None,
        };
        parts.next().is_none().then_some(place)
    }
}

fn named(name: &str) -> Option<String> {
    crate::config::is_name(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let keys = Keys::of("north");
        for place in [
            Place::Generation(7),
            Place::Rollout,
            Place::Active,
            Place::Drain("a".into()),
            Place::Tickets,
            Place::Presence("a.example".into()),
            Place::Ack("a".into()),
            Place::Exclusion("a".into(), "0f".into()),
            Place::Chain("a".into(), "0f".into()),
            Place::Costly("a".into()),
        ] {
            assert_eq!(keys.place(&keys.key(&place)), Some(place));
        }
    }

    #[test]
    fn strange_keys_are_nothing() {
        let keys = Keys::of("north");
        for key in [
            "",
            "/wireglass/south/v1/tickets",
            "/wireglass/north/v1/tickets/x",
            "/wireglass/north/v1/policy/generation/x",
            "/wireglass/north/v1/policy/generation/1/2",
            "/wireglass/north/v1/engine/../ack",
            "/wireglass/north/v1/engine//presence",
            "/wireglass/north/v1/engine/a/exclusion",
        ] {
            assert_eq!(keys.place(key), None, "{key}");
        }
    }
}
