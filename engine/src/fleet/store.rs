//! etcd: what of it is asked, and for how long.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, GetResponse, Identity,
    KvClient, LeaseKeepAliveStream, LeaseKeeper, PutOptions, TlsOptions, Txn, TxnOp, WatchOptions,
    WatchStream,
};

use super::keys::{Keys, Place};
use super::rollout::Step;
use super::schema::{max_bytes, write};
use super::view::{Heard, MAX_ENGINES, View};
use crate::config::Fleet;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that are read at once: their values, whatever they are, are to be within the bound of an answer, or fewer are read.
const PAGE: i64 = 256;
/// Longest answer, in bytes. etcd takes values of 1.5 MB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Keys, and bytes of them and their values, that are taken of one engine, and of all that is no engine's.
const OF_ENGINE: (usize, usize) = (2048, 2 * 1024 * 1024);
const OF_OTHERS: (usize, usize) = (1024, 64 * 1024 * 1024);
/// How often a quiet connection is tried. Servers take a ping each five seconds at most.
const PING: Duration = Duration::from_secs(10);
/// Longest message of an error that is shown.
const MAX_WORDS: usize = 300;

/// Why etcd was not asked, or gave no answer.
pub type StoreError = String;

/// A connection to etcd.
#[derive(Clone)]
pub struct Store {
    client: Client,
    /// Its part for keys and values, with a bound for answers.
    kv: KvClient,
    keys: Keys,
}

/// A lease: what is put with it goes when it is no longer kept alive.
pub struct Lease {
    /// Its number.
    pub id: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

/// Waits for an answer, but not for long.
async fn patiently<T>(what: &str, asked: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let mut words = format!("{what}: {error}");
            words.truncate(words.floor_char_boundary(MAX_WORDS));
            Err(words)
        }
        Err(_) => Err(format!("{what}: no answer within {} s", PATIENCE.as_secs())),
    }
}

impl Store {
    /// Connects to one of the members.
    ///
    /// # Errors
    /// None can be reached, or none wants this client.
    pub async fn connect(fleet: &Fleet) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(PATIENCE)
            .with_keep_alive(PING, PATIENCE)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        // Endpoints of a configuration are of one kind, or the first that is asked says what is wrong.
        if let Some(tls) =
            fleet.tls.as_ref().filter(|_| fleet.endpoints.iter().any(|url| url.starts_with("https")))
        {
            let mut wanted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca));
            if let Some((certificate, key)) = &tls.identity {
                wanted = wanted.identity(Identity::from_pem(certificate, &**key));
            }
            options = options.with_tls(wanted);
        }
        let client = patiently("connecting", Client::connect(&fleet.endpoints, Some(options))).await?;
        let kv = client.kv_client().max_decoding_message_size(MAX_ANSWER);
        let mut store = Self { client, kv, keys: Keys::of(&fleet.fleet) };
        // It connects when it is asked for something.
        store.get(&store.keys.key(&Place::Active)).await?;
        Ok(store)
    }

    /// The keys of the fleet.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    async fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, i64)>, StoreError> {
        let answer = patiently("reading", self.kv.get(key, None)).await?;
        Ok(answer.kvs().first().map(|kept| (kept.value().to_vec(), kept.mod_revision())))
    }

    /// All that there is but blobs, and the revision at which it was so. `refused` is told of what is not taken.
    ///
    /// # Errors
    /// No answer.
    pub async fn snapshot(
        &mut self,
        mut refused: impl FnMut(&str, super::schema::Refused),
    ) -> Result<(View, i64), StoreError> {
        let (mut found, mut from, mut revision) = (Found::default(), self.keys.base().as_bytes().to_vec(), 0);
        let (end, mut page) = (after(self.keys.base()), PAGE);
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(page).with_revision(revision);
            let Some(answer) = self.page(from.clone(), options, page > 1).await? else {
                page = (page / 4).max(1);
                continue;
            };
            if revision == 0 {
                revision = answer.header().map_or(0, |header| header.revision());
            }
            let mut next = from;
            for kept in answer.kvs() {
                // What it has too much of is passed over.
                if kept.key() < &next[..] {
                    continue;
                }
                next = [kept.key(), b"\0"].concat();
                let key = String::from_utf8_lossy(kept.key());
                if let Err(past) = found.take(&self.keys, &key, kept.value(), kept.mod_revision()) {
                    refused(&key, super::schema::Refused::TooMany);
                    next = past.unwrap_or(next);
                }
            }
            if !answer.more() {
                break;
            }
            page = (2 * page).min(PAGE);
            from = next;
        }
        // A view takes what is newer than what it has.
        found.all.sort_by_key(|(_, _, revision)| *revision);
        let mut view = View::default();
        for (key, value, revision) in found.all {
            self.hear(&mut view, key.as_bytes(), Some(&value), revision, &mut refused);
        }
        Ok((view, revision))
    }

    /// Some of the keys; none, if fewer may be asked for: they are too long for one answer.
    async fn page(
        &mut self,
        from: Vec<u8>,
        options: GetOptions,
        may_be_fewer: bool,
    ) -> Result<Option<GetResponse>, StoreError> {
        let asked = async {
            match self.kv.get(from, Some(options)).await {
                Err(Error::GRpcStatus(status)) if may_be_fewer && status.message().contains("too large") => {
                    Ok(None)
                }
                answer => answer.map(Some),
            }
        };
        patiently("reading", asked).await
    }

    /// Has a view hear of a change.
    pub fn hear(
        &self,
        view: &mut View,
        key: &[u8],
        value: Option<&[u8]>,
        revision: i64,
        mut refused: impl FnMut(&str, super::schema::Refused),
    ) {
        let key = String::from_utf8_lossy(key);
        match self.keys.place(&key) {
            Some(place) => {
                if let Heard::Refused(why) = view.hear(&place, value, revision) {
                    refused(&key, why);
                }
            }
            None if value.is_some() => refused(&key, super::schema::Refused::UnknownKey),
            None => {}
        }
    }

    /// Hears of all changes after a revision.
    ///
    /// # Errors
    /// No answer.
    pub async fn watch(&mut self, after: i64) -> Result<WatchStream, StoreError> {
        let options = WatchOptions::new().with_prefix().with_fragment().with_start_revision(after + 1);
        let key = self.keys.base().to_owned();
        patiently("watching", self.client.watch(key, Some(options))).await
    }

    /// Begins a lease.
    ///
    /// # Errors
    /// No answer.
    pub async fn lease(&mut self, time: Duration) -> Result<Lease, StoreError> {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let id = patiently("a lease", self.client.lease_grant(seconds, None)).await?.id();
        let (keeper, answers) = patiently("a lease", self.client.lease_keep_alive(id)).await?;
        Ok(Lease { id, keeper, answers })
    }

    /// Ends one, and with it what was put with it.
    pub async fn revoke(&mut self, lease: &Lease) {
        let _ = patiently("a lease", self.client.lease_revoke(lease.id)).await;
    }

    /// Puts a value.
    ///
    /// # Errors
    /// No answer, or it may not be written.
    pub async fn put(
        &mut self,
        place: &Place,
        value: Vec<u8>,
        lease: Option<&Lease>,
    ) -> Result<(), StoreError> {
        let (key, options) =
            (self.keys.key(place), lease.map(|lease| PutOptions::new().with_lease(lease.id)));
        patiently("writing", self.kv.put(key, value, options)).await.map(drop)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Likewise.
    pub async fn delete(&mut self, place: &Place) -> Result<(), StoreError> {
        let key = self.keys.key(place);
        patiently("removing", self.kv.delete(key, None)).await.map(drop)
    }

    /// What is there, whatever it is, and its revision; none: nothing is.
    ///
    /// # Errors
    /// No answer.
    pub async fn look(&mut self, place: &Place) -> Result<Option<(Vec<u8>, i64)>, StoreError> {
        let key = self.keys.key(place);
        self.get(&key).await
    }

    /// Puts a value with a lease, if the key has this revision; 0: if there is none. False: it has another.
    ///
    /// # Errors
    /// Likewise.
    pub async fn claim(
        &mut self,
        place: &Place,
        revision: i64,
        value: Vec<u8>,
        lease: &Lease,
    ) -> Result<bool, StoreError> {
        let key = self.keys.key(place);
        let seen = Compare::mod_revision(key.clone(), CompareOp::Equal, revision);
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.id)));
        let done = patiently("writing", self.kv.txn(Txn::new().when([seen]).and_then([put]))).await?;
        Ok(done.succeeded())
    }

    /// Puts values with a lease, and removes those that are none, all at once: at most 128. Of several for one place the last counts, as etcd
    /// takes only one.
    ///
    /// # Errors
    /// Likewise.
    pub async fn write_all(
        &mut self,
        changes: impl IntoIterator<Item = (Place, Option<Vec<u8>>)>,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let last: BTreeMap<_, _> =
            changes.into_iter().map(|(place, value)| (self.keys.key(&place), value)).collect();
        let change = |(key, value): (_, Option<Vec<u8>>)| match value {
            Some(value) => TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.id))),
            None => TxnOp::delete(key, None),
        };
        let changes: Vec<_> = last.into_iter().map(change).collect();
        if changes.is_empty() {
            return Ok(());
        }
        patiently("writing", self.kv.txn(Txn::new().and_then(changes))).await.map(drop)
    }

    /// Writes these, if those keys are as they were seen: `mod_revision`, 0 for a key that is not there. False: they are not.
    ///
    /// # Errors
    /// Likewise.
    pub async fn write_if(
        &mut self,
        conditions: &[(Place, i64)],
        values: Vec<(Place, Vec<u8>)>,
    ) -> Result<bool, StoreError> {
        let seen = conditions.iter().map(|(place, revision)| {
            Compare::mod_revision(self.keys.key(place), CompareOp::Equal, *revision)
        });
        let puts = values.into_iter().map(|(place, value)| TxnOp::put(self.keys.key(&place), value, None));
        let txn = Txn::new().when(seen.collect::<Vec<_>>()).and_then(puts.collect::<Vec<_>>());
        Ok(patiently("writing", self.kv.txn(txn)).await?.succeeded())
    }

    /// Takes a step of a roll-out. False: something has changed since it was thought of.
    ///
    /// # Errors
    /// Likewise.
    pub async fn advance(&mut self, step: &Step) -> Result<bool, StoreError> {
        let mut values = vec![(Place::Rollout, write(&step.rollout))];
        values.extend(step.activate.map(|active| (Place::Active, write(&active))));
        self.write_if(&step.conditions, values).await
    }

    /// A piece of a file; none: it is not there.
    ///
    /// # Errors
    /// No answer.
    pub async fn blob(&mut self, sha256: &str, part: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.keys.blob(sha256, part);
        Ok(self.get(&key).await?.map(|(value, _)| value))
    }

    /// Puts a piece of a file.
    ///
    /// # Errors
    /// No answer, or it may not be written.
    pub async fn put_blob(&mut self, sha256: &str, part: u32, value: Vec<u8>) -> Result<(), StoreError> {
        let key = self.keys.blob(sha256, part);
        patiently("writing", self.kv.put(key, value, None)).await.map(drop)
    }

    /// Removes pieces of files that `is_used` says no of. Returns how many.
    ///
    /// # Errors
    /// Likewise.
    pub async fn remove_blobs(&mut self, is_used: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let answer = patiently("reading", self.kv.get(self.keys.blobs(), Some(options))).await?;
        let mut removed = 0;
        for kept in answer.kvs() {
            let key = String::from_utf8_lossy(kept.key()).into_owned();
            let hash = key.strip_prefix(self.keys.blobs()).and_then(|rest| rest.split('/').next());
            if hash.is_some_and(|hash| !is_used(hash)) {
                patiently("removing", self.kv.delete(key, None)).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Lease {
    /// Keeps it for its time from now on.
    ///
    /// # Errors
    /// No answer, or it has ended.
    pub async fn keep(&mut self) -> Result<(), StoreError> {
        patiently("the lease", self.keeper.keep_alive()).await?;
        match patiently("the lease", self.answers.message()).await? {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            _ => Err("the lease has ended".into()),
        }
    }
}

/// What a snapshot has found so far: bounded for each engine, so that none takes the room of another one.
#[derive(Default)]
struct Found {
    all: Vec<(String, Vec<u8>, i64)>,
    /// What all keys of the engine begin with whose keys are being read, and what was taken of it.
    engine: (String, Room),
    /// How many engines there were.
    engines: usize,
    others: Room,
}

#[derive(Default)]
struct Room {
    keys: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize, most: (usize, usize)) -> bool {
        self.keys += 1;
        self.bytes += bytes;
        self.keys <= most.0 && self.bytes <= most.1
    }
}

impl Found {
    /// Takes a key, in their order. Otherwise there is too much, up to this key if there is one.
    fn take(&mut self, keys: &Keys, key: &str, value: &[u8], revision: i64) -> Result<(), Option<Vec<u8>>> {
        // Enough for it to be seen that it is too long, or that it is none of ours.
        let most = keys.place(key).map_or(0, |place| max_bytes(&place) + 1);
        let value = &value[..value.len().min(most)];
        let bytes = key.len() + value.len();
        let engines = keys.engines();
        let name = key.strip_prefix(&engines).and_then(|rest| rest.split_once('/')).map(|(name, _)| name);
        match name {
            Some(name) => {
                let engine = format!("{engines}{name}/");
                if self.engine.0 != engine {
                    self.engines += 1;
                    self.engine = (engine, Room::default());
                }
                if self.engines > 2 * MAX_ENGINES {
                    return Err(Some(after(&engines)));
                }
                if !self.engine.1.take(bytes, OF_ENGINE) {
                    return Err(Some(after(&self.engine.0)));
                }
            }
            None if !self.others.take(bytes, OF_OTHERS) => return Err(None),
            None => {}
        }
        self.all.push((key.to_owned(), value.to_vec(), revision));
        Ok(())
    }
}

/// The first key that does not begin with this.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // It ends with a slash.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_engine_has_too_much_of_takes_no_room_of_another_one() {
        let keys = Keys::of("north");
        let mut found = Found::default();
        let junk = vec![b'x'; 1_500_000];
        let mut refused = 0;
        for n in 0..10_000 {
            let key = format!("/wireglass/north/v1/engine/a/exclusion/{n:05}");
            match found.take(&keys, &key, &junk, 1) {
                Ok(()) => {}
                Err(past) => {
                    assert_eq!(past.as_deref(), Some(&b"/wireglass/north/v1/engine/a0"[..]));
                    refused += 1;
                }
            }
        }
        assert!(refused > 9000);
        assert!(found.all.iter().map(|(_, value, _)| value.len()).sum::<usize>() <= OF_ENGINE.1);
        let key = keys.key(&Place::Presence("b".into()));
        assert_eq!(found.take(&keys, &key, b"{}", 2), Ok(()));
        for n in 0..3 * MAX_ENGINES {
            let _ = found.take(&keys, &keys.key(&Place::Presence(format!("c{n:04}"))), b"{}", 3);
        }
        assert_eq!(found.take(&keys, &keys.key(&Place::Rollout), b"{}", 4), Ok(()));
        assert_eq!(
            found.all.last().map(|(key, ..)| key.as_str()),
            Some("/wireglass/north/v1/policy/rollout")
        );
    }
}
