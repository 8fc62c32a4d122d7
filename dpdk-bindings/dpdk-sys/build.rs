//! Finds libdpdk, generates the bindings, compiles the shim, and tells cargo what to link.

mod allow_list;

use std::env;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// The oldest release whose names and structures the shim knows.
const OLDEST: &str = "22.11";

/// libdpdk, its parts, and the libraries that its drivers call. Those are linked shared, so what they need in turn
/// comes with them, and need not be installed for development.
const DIRECT_ONLY: &str = "--maximum-traverse-depth=3";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=allow_list.rs");
    println!("cargo::rerun-if-changed=shim");
    let link_static = env::var_os("CARGO_FEATURE_STATIC").is_some();
    let ring = env::var_os("CARGO_FEATURE_RING").is_some();
    let dpdk = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| {
            give_up(
                &format!("DPDK {OLDEST} or later with its headers was not found."),
                "apt-get install libdpdk-dev pkgconf  (Debian, Ubuntu) or dnf install dpdk-devel pkgconf  (Fedora)",
                &error,
            )
        });
    let mode = if link_static { "static" } else { "shared" };
    println!("cargo::metadata=version={}", dpdk.version);
    println!("cargo::metadata=link_mode={mode}");
    println!("cargo::rustc-env=DPDK_SYS_VERSION={}", dpdk.version);
    println!("cargo::rustc-env=DPDK_SYS_LINK_MODE={mode}");

    // All of the flags: DPDK's inline functions need `-include rte_config.h` and the `-march` it was built with.
    let cflags = pkg_config(&["--cflags", "libdpdk"]);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    generate_bindings(&cflags, &out, ring);
    compile_shim(&cflags);

    println!("cargo::rustc-link-search=native={}", pkg_config(&["--variable=libdir", "libdpdk"]).concat());
    if link_static {
        link_whole_archives(&pkg_config(&["--static", DIRECT_ONLY, "--libs", "libdpdk"]));
    } else {
        // No driver among them, but for `ring`: EAL loads those from its own directory when it starts.
        dpdk.libs.iter().for_each(|library| println!("cargo::rustc-link-lib=dylib={library}"));
        if ring {
            println!("cargo::rustc-link-lib=dylib=rte_net_ring");
        }
    }
}

fn generate_bindings(cflags: &[String], out: &Path, ring: bool) {
    let mut builder = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(cflags)
        .allowlist_function("shim_.*")
        // Reached through the shim and through offsets only; their insides differ between releases.
        .opaque_type("rte_mbuf|rte_mempool|rte_bus|rte_device|rte_eth_link|rte_ring")
        .derive_default(true)
        .generate_comments(false)
        .prepend_enum_name(false);
    let more = if ring { allow_list::RING_FUNCTIONS } else { &[] };
    let functions = allow_list::FUNCTIONS.iter().chain(more);
    builder = functions.fold(builder, |builder, name| builder.allowlist_function(name));
    builder = allow_list::CONSTANTS.iter().fold(builder, |builder, name| builder.allowlist_var(name));
    // bindgen panics when it cannot load libclang; a backtrace tells nobody which package is missing.
    panic::set_hook(Box::new(|_| {}));
    let generated = panic::catch_unwind(AssertUnwindSafe(|| builder.generate()));
    let _ = panic::take_hook();
    let bindings = match generated {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => give_up("bindgen could not read DPDK's headers.", "see the error below", &error),
        Err(panicked) => give_up(
            "libclang, which bindgen reads DPDK's headers with, was not found.",
            "apt-get install libclang-dev  (Debian, Ubuntu) or dnf install clang-devel  (Fedora)",
            &panicked.downcast_ref::<String>().map_or("bindgen stopped", String::as_str),
        ),
    };
    if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
        give_up("The bindings could not be written.", "make room or rights in the target directory", &error);
    }
}

fn compile_shim(cflags: &[String]) {
    let mut build = cc::Build::new();
    cflags.iter().for_each(|flag| {
        build.flag(flag);
    });
    if let Err(error) = build.file("shim/shim.c").warnings(false).try_compile("dpdk_shim") {
        give_up(
            "The C shim did not compile.",
            "apt-get install gcc  (Debian, Ubuntu) or dnf install gcc  (Fedora)",
            &error,
        );
    }
}

/// Links what `pkg-config --static` names: `-l:librte_x.a` whole, because drivers register themselves in
/// constructors that nothing refers to; the rest are the drivers' own libraries, shared.
fn link_whole_archives(flags: &[String]) {
    let archives: Vec<&str> = flags.iter().filter_map(|flag| archive_name(flag)).collect();
    for name in &archives {
        println!("cargo::rustc-link-lib=static:+whole-archive,-bundle={name}");
    }
    let libraries = flags.iter().filter_map(|flag| flag.strip_prefix("-l"));
    for name in libraries.filter(|name| !name.starts_with(':') && !archives.contains(name)) {
        println!("cargo::rustc-link-lib=dylib={name}");
    }
}

fn archive_name(flag: &str) -> Option<&str> {
    flag.strip_prefix("-l:lib")?.strip_suffix(".a")
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let remedy = "apt-get install pkgconf  (Debian, Ubuntu) or dnf install pkgconf  (Fedora)";
    match Command::new(&program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(Into::into).collect()
        }
        Ok(output) => give_up("pkg-config failed.", remedy, &String::from_utf8_lossy(&output.stderr)),
        Err(error) => give_up("pkg-config did not run.", remedy, &error),
    }
}

fn give_up(what: &str, remedy: &str, cause: &dyn Display) -> ! {
    eprintln!("dpdk-sys: {what}\n  Remedy: {remedy}\n  Cause:  {cause}");
    process::exit(1)
}
