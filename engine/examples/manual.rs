//! Writes manual pages and completions of the command line, for packages: `cargo run --example manual -- FOLDER`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, fs, io};

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("the folder to write to is missing"))?;
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    for each in [&pages, &completions] {
        fs::create_dir_all(each)?;
    }
    clap_mangen::generate_to(wireglass::cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut wireglass::cli::command(), "wireglass", &completions)?;
    }
    Ok(())
}
