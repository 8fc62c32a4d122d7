//! The screen and its keys, from the first picture until the terminal is as it was.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::backend::Backend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::size;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::screen::Screen;
use super::state::{State, Wish};
use crate::control::Counters;
use crate::control::client::{self, AskError};
use crate::control::protocol::Refusal;

/// How long a key, a signal or an answer may wait.
const GLANCE: Duration = Duration::from_millis(50);
/// What a shell says of a command that a signal ended: so much more than its number.
const SIGNALLED: u8 = 128;

/// How it ended.
pub(super) enum End {
    /// As was wished, or by a signal.
    Quit(ExitCode),
    /// The engine is gone, or does not answer.
    Gone(AskError),
}

/// Whether there is room for a screen: a serial line may not know.
pub(super) fn has_size() -> bool {
    matches!(size(), Ok((1.., 1..)))
}

/// Shows an engine, which has answered once, until somebody quits or it is gone.
///
/// # Errors
/// The terminal's.
pub(super) fn show(socket: &Path, first: Counters, interval: Duration) -> io::Result<End> {
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let mut state = State::default();
    state.take(first);
    let answers = ask_on(socket, interval);
    // With a hook that gives the terminal back before a panic is told.
    let mut terminal = ratatui::try_init()?;
    let _restore = Restore;
    watch(&mut terminal, &mut state, &answers, &signal)
}

struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// A thread that asks, so that keys work while the engine does not. It ends after an answer that is an end, or when nobody
/// listens any more.
fn ask_on(socket: &Path, interval: Duration) -> Receiver<Result<Counters, AskError>> {
    // While the numbers are held nobody takes an answer: then one waits here, and no more are asked for.
    let (sender, receiver) = mpsc::sync_channel(1);
    let socket = socket.to_owned();
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            let answer = client::counters(&socket);
            let over = answer.as_ref().is_err_and(|error| !is_passing(error));
            if sender.send(answer).is_err() || over {
                return;
            }
        }
    });
    receiver
}

/// The engine is there and has no time for us.
fn is_passing(error: &AskError) -> bool {
    matches!(error, AskError::Refused(Refusal::Busy, _))
}

fn watch(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    answers: &Receiver<Result<Counters, AskError>>,
    signal: &AtomicUsize,
) -> io::Result<End> {
    let mut draw = true;
    loop {
        if draw {
            terminal.draw(|frame| frame.render_widget(Screen(state), frame.area()))?;
            draw = false;
        }
        if event::poll(GLANCE)? {
            draw = true;
            if let Event::Key(key) = event::read()? {
                match state.press(key) {
                    Wish::Nothing => {}
                    Wish::Redraw => {
                        // Terminal::clear asks the terminal where its cursor is, and not all of them answer.
                        terminal.backend_mut().clear()?;
                        terminal.swap_buffers();
                    }
                    Wish::Quit => return Ok(End::Quit(ExitCode::SUCCESS)),
                }
            }
        }
        let number = signal.load(Ordering::Relaxed);
        if number != 0 {
            return Ok(End::Quit(ExitCode::from(SIGNALLED + number as u8)));
        }
        if state.paused {
            continue;
        }
        match answers.try_recv() {
            Ok(Ok(counters)) => state.take(counters),
            Ok(Err(error)) if is_passing(&error) => state.note_busy(),
            Ok(Err(error)) => return Ok(End::Gone(error)),
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => {
                return Ok(End::Gone(AskError::Io(io::ErrorKind::BrokenPipe.into())));
            }
        }
        draw = true;
    }
}
