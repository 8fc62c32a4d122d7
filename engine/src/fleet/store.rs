//! etcd: what of it is asked, and for how long.

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, Identity,
    LeaseKeepAliveStream, LeaseKeeper, PutOptions, TlsOptions, Txn, TxnOp, WatchOptions, WatchStream,
};

use super::keys::{Keys, Place};
use super::rollout::Step;
use super::schema::write;
use super::view::{Heard, View};
use crate::config::Fleet;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that are read at once.
const PAGE: i64 = 512;
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
        let mut store = Self { client, keys: Keys::of(&fleet.fleet) };
        // It connects when it is asked for something.
        store.get(&store.keys.key(&Place::Active)).await?;
        Ok(store)
    }

    /// The keys of the fleet.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    async fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, i64)>, StoreError> {
        let answer = patiently("reading", self.client.get(key, None)).await?;
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
        let (mut found, mut from, mut revision) = (Vec::new(), self.keys.base().as_bytes().to_vec(), 0);
        let end = after(self.keys.base());
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let answer = patiently("reading", self.client.get(from, Some(options))).await?;
            revision = answer.header().map_or(0, |header| header.revision()).min(if revision == 0 {
                i64::MAX
            } else {
                revision
            });
            let mut last = Vec::new();
            for kept in answer.kvs() {
                last = kept.key().to_vec();
                found.push((last.clone(), kept.value().to_vec(), kept.mod_revision()));
            }
            if !answer.more() {
                break;
            }
            last.push(0);
            from = last;
        }
        // A view takes what is newer than what it has.
        found.sort_by_key(|(_, _, revision)| *revision);
        let mut view = View::default();
        for (key, value, revision) in found {
            self.hear(&mut view, &key, Some(&value), revision, &mut refused);
        }
        Ok((view, revision))
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
        let options = WatchOptions::new().with_prefix().with_start_revision(after + 1);
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
        patiently("writing", self.client.put(key, value, options)).await.map(drop)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Likewise.
    pub async fn delete(&mut self, place: &Place) -> Result<(), StoreError> {
        let key = self.keys.key(place);
        patiently("removing", self.client.delete(key, None)).await.map(drop)
    }

    /// Puts a value where there is none. False: there is one.
    ///
    /// # Errors
    /// Likewise.
    pub async fn claim(&mut self, place: &Place, value: Vec<u8>, lease: &Lease) -> Result<bool, StoreError> {
        let key = self.keys.key(place);
        let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.id)));
        let done = patiently("writing", self.client.txn(Txn::new().when([absent]).and_then([put]))).await?;
        Ok(done.succeeded())
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
        Ok(patiently("writing", self.client.txn(txn)).await?.succeeded())
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

    /// Whether a piece of a file is there.
    ///
    /// # Errors
    /// No answer.
    pub async fn has_blob(&mut self, sha256: &str, part: u32) -> Result<bool, StoreError> {
        let key = self.keys.blob(sha256, part);
        let options = GetOptions::new().with_count_only();
        Ok(patiently("reading", self.client.get(key, Some(options))).await?.count() > 0)
    }

    /// Puts a piece of a file.
    ///
    /// # Errors
    /// No answer, or it may not be written.
    pub async fn put_blob(&mut self, sha256: &str, part: u32, value: Vec<u8>) -> Result<(), StoreError> {
        let key = self.keys.blob(sha256, part);
        patiently("writing", self.client.put(key, value, None)).await.map(drop)
    }

    /// Removes pieces of files that `is_used` says no of. Returns how many.
    ///
    /// # Errors
    /// Likewise.
    pub async fn remove_blobs(&mut self, is_used: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let answer = patiently("reading", self.client.get(self.keys.blobs(), Some(options))).await?;
        let mut removed = 0;
        for kept in answer.kvs() {
            let key = String::from_utf8_lossy(kept.key()).into_owned();
            let hash = key.strip_prefix(self.keys.blobs()).and_then(|rest| rest.split('/').next());
            if hash.is_some_and(|hash| !is_used(hash)) {
                patiently("removing", self.client.delete(key, None)).await?;
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

/// The first key that does not begin with this.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // It ends with a slash.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
