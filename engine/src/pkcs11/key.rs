//! A key at a token, and the sessions in which it signs.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::UintRef;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroizing;

use super::KeyUri;
use super::module::{Missing, Module, said};

/// How long it waits after a token has failed, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Sessions that are kept open: one for each thread that signs.
const SESSIONS: usize = 8;
/// Shortest modulus of RSA, in bytes.
const SHORTEST: usize = 2048 / 8;
/// Longest coordinate of a signature: that of P-384, in bytes.
const LONGEST: usize = 48;

/// DER of the curves' names, as CKA_EC_PARAMS has them.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// What stands before a SHA-256 in a DigestInfo (RFC 8017 §9.2).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Finds the key at its token and opens a session with it. The PIN stays in memory, for the day that the token comes back.
///
/// # Errors
/// In words: module, token, PIN or key, and what to do.
pub fn open(
    uri: KeyUri,
    module: &Path,
    pin: Option<Zeroizing<Vec<u8>>>,
) -> Result<Arc<dyn SigningKey>, String> {
    let module = Module::load(module)?;
    let pin = pin.map(|pin| (Sha256::digest(&*pin).into(), RawAuthPin::new(Box::new(pin.to_vec()))));
    let place = Place { module, uri, pin };
    let mut found = place.first_session();
    if matches!(found, Err(Fault::Missing(_))) {
        // Some look for tokens only when they begin.
        place.module.look_again();
        found = place.first_session();
    }
    let (kind, first) = found.map_err(|fault| format!("{}: {fault}", place.uri))?;
    let idle = Mutex::new(vec![first]);
    let health = Mutex::new(Health::Good);
    Ok(Arc::new(TokenKey(Arc::new(Held { place, kind, idle, health }))))
}

/// What the key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Rsa,
}

/// Why nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// The token is not there. It may come back.
    Missing(String),
    /// A call failed, which another time may not.
    Failed(String),
    /// The PIN is not the token's, or the key is not one to sign with. Trying again would lock the token.
    Refused(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Failed(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(said(&error))
    }
}

impl From<Missing> for Fault {
    fn from(Missing(why): Missing) -> Self {
        Self::Missing(why)
    }
}

/// Where the key is.
struct Place {
    module: Arc<Module>,
    uri: KeyUri,
    /// With its hash, by which it is known again.
    pin: Option<([u8; 32], RawAuthPin)>,
}

/// A session of a module that was initialised `of` times by then, and the key in it.
struct Open {
    session: Session,
    key: ObjectHandle,
    of: u64,
}

/// Whether the token did what it was asked, the last time.
enum Health {
    Good,
    /// It did not: when it is asked again, and how long is waited after that. None: never.
    Bad(Fault, Option<(Instant, Duration)>),
}

struct Held {
    place: Place,
    kind: Kind,
    /// Sessions that nobody signs in now.
    idle: Mutex<Vec<Open>>,
    health: Mutex<Health>,
}

/// The key as rustls wants it.
#[derive(Clone)]
struct TokenKey(Arc<Held>);

impl Kind {
    fn of(open: &Open) -> Result<Self, Fault> {
        let wanted = || {
            Fault::Refused(
                "expected a private key on P-256 or P-384, or of RSA with 2048 bits or more".into(),
            )
        };
        let attributes = |which: &[AttributeType]| open.session.get_attributes(open.key, which);
        let always = attributes(&[AttributeType::AlwaysAuthenticate])?;
        if always.contains(&Attribute::AlwaysAuthenticate(true)) {
            return Err(Fault::Refused(
                "expected a key that does not ask for the PIN before each signature (CKA_ALWAYS_AUTHENTICATE)".into(),
            ));
        }
        match attributes(&[AttributeType::KeyType])?.as_slice() {
            [Attribute::KeyType(KeyType::EC)] => match attributes(&[AttributeType::EcParams])?.as_slice() {
                [Attribute::EcParams(curve)] if curve == P256 => Ok(Self::P256),
                [Attribute::EcParams(curve)] if curve == P384 => Ok(Self::P384),
                _ => Err(wanted()),
            },
            [Attribute::KeyType(KeyType::RSA)] => match attributes(&[AttributeType::Modulus])?.as_slice() {
                [Attribute::Modulus(modulus)] if modulus.len() >= SHORTEST => Ok(Self::Rsa),
                _ => Err(wanted()),
            },
            _ => Err(wanted()),
        }
    }

    fn scheme(self) -> SignatureScheme {
        match self {
            Self::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::Rsa => SignatureScheme::RSA_PKCS1_SHA256,
        }
    }

    /// How the token is asked, and for what.
    fn order(self, message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        match self {
            Self::P256 => (Mechanism::Ecdsa, Sha256::digest(message).to_vec()),
            Self::P384 => (Mechanism::Ecdsa, Sha384::digest(message).to_vec()),
            Self::Rsa => (Mechanism::RsaPkcs, [&SHA256_INFO[..], &Sha256::digest(message)].concat()),
        }
    }

    /// The signature as certificates have it. None: the token said something else.
    fn signature(self, said: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Rsa => Some(said),
            Self::P256 | Self::P384 => ecdsa_der(&said),
        }
    }
}

/// `Ecdsa-Sig-Value` (RFC 3279 §2.2.3) of r and s, which PKCS#11 has one after the other, of one length.
fn ecdsa_der(pair: &[u8]) -> Option<Vec<u8>> {
    if pair.is_empty() || pair.len() % 2 == 1 || pair.len() > 2 * LONGEST {
        return None;
    }
    let (r, s) = pair.split_at(pair.len() / 2);
    let number = |bytes| UintRef::new(bytes).ok()?.to_der().ok();
    let body = [number(r)?, number(s)?].concat();
    // Two numbers of 50 bytes: the length is one byte.
    Some([&[0x30, u8::try_from(body.len()).ok()?], &body[..]].concat())
}

impl Place {
    /// A session, and what kind of key there is.
    fn first_session(&self) -> Result<(Kind, Open), Fault> {
        let using = self.module.using();
        let open = self.session(*using)?;
        match Kind::of(&open) {
            Ok(kind) => Ok((kind, open)),
            Err(why) => {
                self.close(open);
                Err(why)
            }
        }
    }

    /// A new session in which the key can be used. `of`: how often the module was initialised, which is [held](Module::using).
    fn session(&self, of: u64) -> Result<Open, Fault> {
        let slot = self.module.find(&self.uri)?;
        // Closed by hand: after the module was initialised anew, another one may have its number.
        let session = self.module.library().open_ro_session_no_drop(slot)?;
        let key = self.login(slot, &session).and_then(|()| self.key(&session));
        match key {
            Ok(key) => Ok(Open { session, key, of }),
            Err(fault) => {
                // It is gone with the token, then.
                let _ = session.close();
                Err(fault)
            }
        }
    }

    /// Who logs in does so for all sessions of the process with this token.
    fn login(&self, slot: Slot, session: &Session) -> Result<(), Fault> {
        let token = self.module.library().get_token_info(slot)?;
        if !token.login_required() {
            return Ok(());
        }
        let Some((hash, pin)) = &self.pin else {
            return Err(Fault::Refused(
                "expected the token's PIN: `pin-source=file:PATH`, `ca.passphrase_file` or `ca.passphrase_command`"
                    .into(),
            ));
        };
        if token.user_pin_locked() {
            return Err(Fault::Refused(
                "its PIN is locked: have it set anew with the tools of its maker".into(),
            ));
        }
        if token.user_pin_final_try() {
            return Err(Fault::Refused(
                "one more wrong PIN would lock the token: log in once with the right one by its own tools"
                    .into(),
            ));
        }
        if self.module.has_refused(slot, *hash) {
            return Err(Fault::Refused(
                "the token has refused this PIN before: it is not tried again in this process".into(),
            ));
        }
        match session.login_with_raw(UserType::User, pin) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                Module::note_login();
                Ok(())
            }
            Err(Error::Pkcs11(
                code @ (RvError::PinIncorrect
                | RvError::PinLenRange
                | RvError::PinInvalid
                | RvError::PinExpired
                | RvError::PinLocked
                | RvError::UserPinNotInitialized),
                _,
            )) => {
                self.module.note_refusal(slot, *hash);
                Err(Fault::Refused(format!("the token does not take this PIN: {code:?}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn key(&self, session: &Session) -> Result<ObjectHandle, Fault> {
        let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
        wanted.extend(self.uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        wanted.extend(self.uri.id.clone().map(Attribute::Id));
        match session.find_objects(&wanted)?.as_slice() {
            [key] => Ok(*key),
            // It may be loaded later: a token that has just come back.
            [] => Err(Fault::Missing(
                "the token has no such private key: `pkcs11-tool --list-objects --login` lists them".into(),
            )),
            several => Err(Fault::Refused(format!(
                "the token has {} such private keys: name one by `object` and `id`",
                several.len()
            ))),
        }
    }

    /// For whoever [uses](Module::using) the module.
    fn close(&self, open: Open) {
        // A session that fails to be closed is gone already.
        let _ = open.session.close();
    }
}

impl Held {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let (mechanism, data) = self.kind.order(message);
        let sign = |open: &Open| -> Result<Vec<u8>, Fault> {
            let said = open.session.sign(&mechanism, open.key, &data)?;
            self.kind.signature(said).ok_or_else(|| Fault::Failed("it made no signature of its kind".into()))
        };
        let using = self.place.module.using();
        if let Some(open) = self.idle(*using) {
            if let Ok(signature) = sign(&open) {
                self.keep(open);
                return Ok(signature);
            }
            // Whether the token is gone, or this session alone, a new one tells.
            self.place.close(open);
            while let Some(open) = self.idle(*using) {
                self.place.close(open);
            }
        }
        self.wait()?;
        let signed = self.place.session(*using).and_then(|open| match sign(&open) {
            Ok(signature) => {
                self.keep(open);
                Ok(signature)
            }
            Err(fault) => {
                self.place.close(open);
                Err(fault)
            }
        });
        drop(using);
        self.note(signed.as_ref().err());
        signed
    }

    /// A session that is open and idle. Those from before the module was initialised anew are none any more.
    fn idle(&self, of: u64) -> Option<Open> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|open| open.of == of);
        idle.pop()
    }

    fn keep(&self, open: Open) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < SESSIONS {
            idle.push(open);
        } else {
            drop(idle);
            self.place.close(open);
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody asks a token that has just failed.
    fn wait(&self) -> Result<(), Fault> {
        match &*self.health() {
            Health::Bad(fault, None) => Err(fault.clone()),
            Health::Bad(fault, Some((until, _))) if Instant::now() < *until => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    /// What came of a new session.
    fn note(&self, fault: Option<&Fault>) {
        let mut health = self.health();
        let before = match &*health {
            Health::Bad(_, pause) => Some(pause.map(|(_, pause)| pause)),
            Health::Good => None,
        };
        let uri = &self.place.uri;
        let Some(fault) = fault else {
            *health = Health::Good;
            drop(health);
            if before.is_some() {
                tell(format_args!("{uri} signs again"));
            }
            return;
        };
        let pause = match before {
            Some(Some(pause)) => (pause * 2).min(PAUSES[1]),
            _ => PAUSES[0],
        };
        let is_final = matches!(fault, Fault::Refused(_));
        *health = Health::Bad(fault.clone(), (!is_final).then(|| (Instant::now() + pause, pause)));
        drop(health);
        if before.is_none() {
            let next = if is_final { "not tried again before `wireglass reload`" } else { "tried again" };
            tell(format_args!("{uri} does not sign: {fault}; {next}"));
        }
        if matches!(fault, Fault::Missing(_)) {
            self.place.module.look_again();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let place = &self.place;
        let using = place.module.using();
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        idle.drain(..).filter(|open| open.of == *using).for_each(|open| place.close(open));
    }
}

/// To the engine's standard error, which the signer has inherited. Nobody may be reading it.
fn tell(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "wireglass: signer: {message}");
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.0.kind.scheme()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind {
            Kind::P256 | Kind::P384 => SignatureAlgorithm::ECDSA,
            Kind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|fault| rustls::Error::General(fault.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.kind.scheme()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.0.place.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_signature_are_as_short_as_der_wants_them() {
        let pair = |r: &[u8], s: &[u8]| ecdsa_der(&[r, s].concat());
        assert_eq!(pair(&[0, 1], &[0x80, 0]), Some(vec![0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]));
        assert_eq!(pair(&[0x7f; 48], &[0xff; 48]).map(|der| (der.len(), der[1])), Some((103, 101)));
        assert_eq!((ecdsa_der(&[]), ecdsa_der(&[1; 63]), ecdsa_der(&[1; 98])), (None, None, None));
    }
}
