//! What this program calls itself.

/// Its version: the package's. With the feature `next-version`, one that comes after it, so that scripts/fleet-test.sh has engines of two versions in
/// one fleet.
pub const VERSION: &str = match cfg!(feature = "next-version") {
    true => concat!(env!("CARGO_PKG_VERSION"), "-next"),
    false => env!("CARGO_PKG_VERSION"),
};
