//! What other engines of a fleet say, bounded for each of them: one that lies or floods takes room from nobody.
//!
//! Room is not given up to newer words: what an engine says beyond its share is refused until something of it has run out. What an
//! operator has dismissed stays dismissed until it would have run out, however often it is said again.

use std::sync::Arc;

use crate::aged_map::AgedMap;

/// Engines that are listened to.
pub const MOST_ENGINES: usize = 100;

/// What has come of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody has said it before.
    Now,
    /// It was known, from this engine or another one.
    Before,
    /// Refused: as many words of this engine as may be are known.
    TooMany,
    /// Refused: as many engines as are listened to have said something.
    TooManyEngines,
    /// Refused: an operator has dismissed it.
    Dismissed,
    /// It has run out, or is nothing that an engine may say for others.
    Nothing,
}

/// One engine's word.
struct Word {
    engine: Arc<str>,
    since: u64,
    until: u64,
}

#[derive(Default)]
struct Said {
    words: Vec<Word>,
    dismissed: bool,
}

impl Said {
    /// The word that holds for longest, at `now`.
    fn longest(&self, now: u64) -> Option<&Word> {
        self.words.iter().filter(|word| word.until > now).max_by_key(|word| word.until)
    }
}

/// What is known of one thing from other engines.
pub(crate) struct Known<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) engine: &'a Arc<str>,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

fn known<'a, K>(key: &'a K, word: &'a Word) -> Known<'a, K> {
    Known { key, engine: &word.engine, since: word.since, until: word.until }
}

/// Words of others. Keys come with their hashes.
pub(crate) struct Foreign<K> {
    said: AgedMap<K, (u64, Said)>,
    /// Engines with words here, and how many.
    engines: Vec<(Arc<str>, usize)>,
    /// Words of one engine, at most.
    each: usize,
    /// When it was looked for what has run out.
    swept: u64,
}

impl<K: Eq + Clone> Foreign<K> {
    /// For at most `each` words of one engine.
    pub(crate) fn new(each: usize) -> Self {
        let capacity = u32::try_from(each * MOST_ENGINES).unwrap_or(u32::MAX);
        Self { said: AgedMap::new(capacity), engines: Vec::new(), each, swept: 0 }
    }

    /// Things that are known, with those that have run out and were not swept yet.
    pub(crate) fn len(&self) -> usize {
        self.said.len()
    }

    /// An engine says something that holds from `since` until `until`, in seconds since the Unix epoch. `dropped` is told what
    /// makes room.
    pub(crate) fn hear(
        &mut self,
        engine: &str,
        (hash, key): (u64, K),
        (since, until): (u64, u64),
        now: u64,
        mut dropped: impl FnMut(&K),
    ) -> Heard {
        if until <= now {
            return Heard::Nothing;
        }
        if let Some((_, said)) = self.said.get_mut(hash, &key) {
            let holds = said.longest(now).is_some();
            if said.dismissed && holds {
                return Heard::Dismissed;
            }
            said.dismissed = false;
            if let Some(word) = said.words.iter_mut().find(|word| *word.engine == *engine) {
                (word.since, word.until) = (since, until);
                return if holds { Heard::Before } else { Heard::Now };
            }
        }
        if !self.has_room(engine) {
            self.sweep(now, &mut dropped);
        }
        let engine = match self.enter(engine) {
            Ok(engine) => engine,
            Err(refused) => return refused,
        };
        let word = Word { engine, since, until };
        if let Some((_, said)) = self.said.get_mut(hash, &key) {
            let holds = said.longest(now).is_some();
            said.words.push(word);
            return if holds { Heard::Before } else { Heard::Now };
        }
        // Each key has a word at least, and of these there are no more than it has room for.
        let _ = self.said.insert(hash, key, (hash, Said { words: vec![word], dismissed: false }));
        Heard::Now
    }

    fn has_room(&self, engine: &str) -> bool {
        match self.engines.iter().find(|(name, _)| **name == *engine) {
            Some((_, words)) => *words < self.each,
            None => self.engines.len() < MOST_ENGINES,
        }
    }

    /// Counts one more word of this engine.
    fn enter(&mut self, engine: &str) -> Result<Arc<str>, Heard> {
        let known = self.engines.len();
        match self.engines.iter_mut().find(|(name, _)| **name == *engine) {
            Some((_, words)) if *words >= self.each => Err(Heard::TooMany),
            Some((name, words)) => {
                *words += 1;
                Ok(Arc::clone(name))
            }
            None if known >= MOST_ENGINES => Err(Heard::TooManyEngines),
            None => {
                let name: Arc<str> = engine.into();
                self.engines.push((Arc::clone(&name), 1));
                Ok(name)
            }
        }
    }

    /// Who says so, at `now`.
    pub(crate) fn find(&mut self, hash: u64, key: &K, now: u64) -> Option<&Arc<str>> {
        let (_, said) = self.said.get_mut(hash, key)?;
        said.longest(now).filter(|_| !said.dismissed).map(|word| &word.engine)
    }

    /// All that holds at `now`.
    pub(crate) fn list(&self, now: u64) -> impl Iterator<Item = Known<'_, K>> {
        let holding = self.said.iter().filter(|(_, (_, said))| !said.dismissed);
        holding.filter_map(move |(key, (_, said))| said.longest(now).map(|word| known(key, word)))
    }

    /// An engine takes its word back. What an operator has dismissed stays so.
    pub(crate) fn withdraw(&mut self, engine: &str, hash: u64, key: &K, dropped: impl FnMut(&K)) {
        self.retain(dropped, Some((hash, key)), |said, word| said || *word.engine != *engine);
    }

    /// An operator dismisses what `is_meant` of all that holds at `now`. Returns how many.
    pub(crate) fn dismiss(&mut self, now: u64, is_meant: impl Fn(&Known<'_, K>) -> bool) -> usize {
        let meant = |(key, (_, said)): &(&K, &(u64, Said))| {
            let longest = said.longest(now).filter(|_| !said.dismissed);
            longest.is_some_and(|word| is_meant(&known(key, word)))
        };
        let meant: Vec<_> =
            self.said.iter().filter(meant).map(|(key, (hash, _))| (*hash, key.clone())).collect();
        for (hash, key) in &meant {
            if let Some((_, said)) = self.said.get_mut(*hash, key) {
                said.dismissed = true;
            }
        }
        meant.len()
    }

    /// Forgets what has run out, once a second at most: it looks at everything.
    fn sweep(&mut self, now: u64, dropped: impl FnMut(&K)) {
        if self.swept != now {
            self.swept = now;
            self.retain(dropped, None, |_, word| word.until > now);
        }
    }

    /// Keeps the words, of all keys or of one, that `stays` when it is told whether they are dismissed.
    fn retain(
        &mut self,
        mut dropped: impl FnMut(&K),
        only: Option<(u64, &K)>,
        stays: impl Fn(bool, &Word) -> bool,
    ) {
        let keys: Vec<_> = match only {
            Some((hash, key)) => vec![(hash, key.clone())],
            None => self.said.iter().map(|(key, (hash, _))| (*hash, key.clone())).collect(),
        };
        for (hash, key) in keys {
            let Some((_, Said { words, dismissed })) = self.said.get_mut(hash, &key) else { continue };
            let engines = &mut self.engines;
            words.retain(|word| {
                let stays = stays(*dismissed, word);
                if !stays && let Some((_, words)) = engines.iter_mut().find(|(name, _)| *name == word.engine)
                {
                    *words -= 1;
                }
                stays
            });
            if words.is_empty() {
                self.said.remove(hash, &key);
                dropped(&key);
            }
        }
        self.engines.retain(|(_, words)| *words > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const EACH: usize = 4;

    fn hear(foreign: &mut Foreign<u8>, engine: &str, key: u8, until: u64, now: u64) -> Heard {
        foreign.hear(engine, (key.into(), key), (now, until), now, |_| {})
    }

    fn who(foreign: &mut Foreign<u8>, key: u8, now: u64) -> Option<String> {
        foreign.find(key.into(), &key, now).map(ToString::to_string)
    }

    #[test]
    fn a_word_holds_until_it_runs_out_or_is_taken_back() {
        let mut foreign = Foreign::new(EACH);
        assert_eq!(hear(&mut foreign, "a", 1, 10, 0), Heard::Now);
        assert_eq!(hear(&mut foreign, "a", 1, 20, 0), Heard::Before);
        assert_eq!(hear(&mut foreign, "b", 1, 30, 0), Heard::Before);
        assert_eq!(hear(&mut foreign, "b", 2, 5, 5), Heard::Nothing);
        assert_eq!(who(&mut foreign, 1, 19).as_deref(), Some("b"));
        foreign.withdraw("b", 1, &1, |_| panic!("another one says so, too"));
        assert_eq!(who(&mut foreign, 1, 19).as_deref(), Some("a"));
        assert_eq!(who(&mut foreign, 1, 20), None);
        let mut dropped = Vec::new();
        foreign.withdraw("a", 1, &1, |key| dropped.push(*key));
        assert_eq!((dropped, foreign.len()), (vec![1], 0));
    }

    #[test]
    fn an_engine_that_floods_shuts_nobody_out() {
        let mut foreign = Foreign::new(EACH);
        hear(&mut foreign, "quiet", 1, 100, 0);
        for key in 0..=255 {
            let heard = hear(&mut foreign, "loud", key, 50, 0);
            assert_eq!(heard == Heard::TooMany, usize::from(key) >= EACH, "{key}");
        }
        assert_eq!(hear(&mut foreign, "quiet", 200, 100, 0), Heard::Now);
        assert_eq!(who(&mut foreign, 1, 0).as_deref(), Some("quiet"));
        assert_eq!(hear(&mut foreign, "loud", 99, 100, 50), Heard::Now, "what it said has run out");
        for engine in 2..MOST_ENGINES {
            let expected = if engine == 2 { Heard::Now } else { Heard::Before };
            assert_eq!(hear(&mut foreign, &engine.to_string(), 7, 100, 50), expected);
        }
        assert_eq!(hear(&mut foreign, "one more", 7, 100, 50), Heard::TooManyEngines);
    }

    #[test]
    fn what_an_operator_dismisses_is_not_said_again() {
        let mut foreign = Foreign::new(EACH);
        hear(&mut foreign, "a", 1, 100, 0);
        hear(&mut foreign, "a", 2, 100, 0);
        assert_eq!(foreign.dismiss(0, |known| *known.key == 1 && &**known.engine == "a"), 1);
        assert_eq!((who(&mut foreign, 1, 0), foreign.list(0).count()), (None, 1));
        for engine in ["a", "b"] {
            foreign.withdraw(engine, 1, &1, |_| {});
            assert_eq!(hear(&mut foreign, engine, 1, 200, 1), Heard::Dismissed);
        }
        assert_eq!(who(&mut foreign, 1, 1), None);
        assert_eq!(hear(&mut foreign, "b", 1, 200, 100), Heard::Now, "when it would have run out");
        assert_eq!(who(&mut foreign, 1, 100).as_deref(), Some("b"));
    }

    proptest! {
        /// Whatever engines say, and in whichever order: none has more than its share, what holds was said by who is named, nothing
        /// holds for longer than was said, and the counts are right.
        #[test]
        fn each_engine_has_its_share_and_no_more(
            steps in proptest::collection::vec((0_u8..5, 0_u8..5, 0_u8..12, 0_u64..20, 0_u64..4), 0..300),
        ) {
            let mut foreign = Foreign::new(EACH);
            let (mut now, mut keys) = (0, 0_usize);
            let mut said: BTreeMap<(u8, String), u64> = BTreeMap::new();
            for (what, engine, key, length, passes) in steps {
                now += passes;
                let engine = engine.to_string();
                let mut dropped = 0;
                match what {
                    0 => foreign.withdraw(&engine, key.into(), &key, |_| dropped += 1),
                    1 => drop(foreign.dismiss(now, |known| *known.key == key)),
                    _ => {
                        let before = foreign.len();
                        let count = &mut dropped;
                        let heard = foreign.hear(
                            &engine, (key.into(), key), (now, now + length), now, |_| *count += 1);
                        keys += foreign.len() + dropped - before;
                        if matches!(heard, Heard::Now | Heard::Before) {
                            said.insert((key, engine), now + length);
                        }
                    }
                }
                keys -= dropped;
                prop_assert_eq!(keys, foreign.len());
                for (name, words) in &foreign.engines {
                    let counted = foreign.said.iter().flat_map(|(_, (_, said))| &said.words);
                    prop_assert_eq!(counted.filter(|word| word.engine == *name).count(), *words);
                    prop_assert!((1..=EACH).contains(words));
                }
                for known in foreign.list(now) {
                    let until = said.get(&(*known.key, known.engine.to_string()));
                    prop_assert_eq!(until, Some(&known.until));
                    prop_assert!(known.until > now);
                }
            }
        }
    }
}
