//! Modules: shared libraries that speak PKCS#11. Each is loaded once, and stays: whoever has initialised it, it is for the whole process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;

use super::KeyUri;

/// The modules of this process.
static LOADED: Mutex<Vec<Arc<Module>>> = Mutex::new(Vec::new());

/// A token has refused a PIN.
static PIN_REFUSED: AtomicBool = AtomicBool::new(false);

/// A token has refused a PIN, the last time: who starts this process again gets the same answer, until the token locks the PIN.
pub fn pin_was_refused() -> bool {
    PIN_REFUSED.load(Ordering::Relaxed)
}

/// A module that is initialised.
#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    library: Pkcs11,
    /// How often it was initialised. Whoever calls it reads this meanwhile: nothing is initialised anew below a call. Sessions end with it.
    initialised: RwLock<u64>,
    /// PINs that were refused, by their hashes, and in which slots. Both keys may be at one token, and a reload may bring the same again.
    refusals: Mutex<Vec<(u64, [u8; 32])>>,
}

impl Module {
    /// The module at this path; loaded and initialised, unless it is already.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, String> {
        let name = path.display();
        // One library under two names would be finalised by one while the other calls it.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.iter().find(|module| module.path == real) {
            return Ok(Arc::clone(module));
        }
        let library = Pkcs11::new(path).map_err(|error| match error {
            Error::LibraryLoading(why) => format!("expected a PKCS#11 module at {name}: {why}"),
            error => format!("expected a PKCS#11 module at {name}: {}", said(&error)),
        })?;
        initialise(&library)
            .map_err(|error| format!("the PKCS#11 module {name} does not start: {}", said(&error)))?;
        let module =
            Arc::new(Self { path: real, library, initialised: RwLock::new(1), refusals: Mutex::default() });
        loaded.push(Arc::clone(&module));
        Ok(module)
    }

    /// The right to call it, and which sessions are still sessions: those of this number.
    pub(super) fn using(&self) -> RwLockReadGuard<'_, u64> {
        self.initialised.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it can do, for whoever [uses](Self::using) it.
    pub(super) fn library(&self) -> &Pkcs11 {
        &self.library
    }

    /// Initialises it anew, as some look for tokens only then. Left, where somebody is calling it: a call that hangs is not waited for.
    pub(super) fn look_again(&self) {
        let Ok(mut initialised) = self.initialised.try_write() else { return };
        // One that was not initialised is what is wanted; another fault comes again with the next call.
        let _ = self.library.clone().finalize();
        *initialised += 1;
        let _ = initialise(&self.library);
    }

    /// This slot's token has refused the PIN with this hash.
    pub(super) fn note_refusal(&self, slot: Slot, pin: [u8; 32]) {
        PIN_REFUSED.store(true, Ordering::Relaxed);
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push((slot.id(), pin));
    }

    /// It has taken one.
    pub(super) fn note_login() {
        PIN_REFUSED.store(false, Ordering::Relaxed);
    }

    /// It has refused this one before.
    pub(super) fn has_refused(&self, slot: Slot, pin: [u8; 32]) -> bool {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).contains(&(slot.id(), pin))
    }

    /// The slot with the token of a key.
    pub(super) fn find(&self, uri: &KeyUri) -> Result<Slot, Missing> {
        let slots = self.library.get_slots_with_token().map_err(|error| Missing(said(&error)))?;
        let mut others = Vec::new();
        for slot in slots {
            // One that was taken away since is not the one.
            let Ok(token) = self.library.get_token_info(slot) else { continue };
            let is =
                |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
            if token.token_initialized()
                && uri.slot.is_none_or(|wanted| wanted == slot.id())
                && is(&uri.token, token.label())
                && is(&uri.manufacturer, token.manufacturer_id())
                && is(&uri.model, token.model())
                && is(&uri.serial, token.serial_number())
            {
                return Ok(slot);
            }
            if token.token_initialized() {
                others.push(format!("{:?}", token.label()));
            }
        }
        let here = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        Err(Missing(format!("{} has no such token; it has: {here}", self.path.display())))
    }
}

/// The token is not there.
pub(super) struct Missing(pub(super) String);

fn initialise(library: &Pkcs11) -> Result<(), Error> {
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By somebody else in this process: a module below another one (p11-kit).
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        done => done,
    }
}

/// What a module says, as PKCS#11 calls it.
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?}: {code:?}"),
        error => error.to_string(),
    }
}
