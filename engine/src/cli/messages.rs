//! The program's own messages, on stderr.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

/// Starts the messages of a running engine: those of `level` and worse, or what `RUST_LOG` says. Returns what changes the level.
pub(super) fn start(level: LevelFilter) -> impl Fn(LevelFilter) + Send + 'static {
    let filter =
        |level: LevelFilter| EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let (layer, handle) = reload::Layer::new(filter(level));
    let messages = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    tracing_subscriber::registry().with(layer).with(messages).init();
    move |level| {
        // It fails where there is no subscriber any more: then nobody reads messages.
        let _ = handle.reload(filter(level));
    }
}
