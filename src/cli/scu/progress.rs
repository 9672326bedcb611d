//! How far a command is: a bar on a terminal, and nothing where there is none but what went wrong.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that shows nothing where there is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// For so many instances; 0 where that is not known yet.
    pub fn of(total: u64, what: &str) -> Progress {
        let style = ProgressStyle::with_template("{msg:24!} {bar:40} {pos}/{len} {eta}");
        let bar = ProgressBar::new(total);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Progress(bar)
    }

    /// One more.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// So many of so many.
    pub fn at(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Says something that stays, above the bar.
    pub fn say(&self, text: &str) {
        self.0.suspend(|| eprintln!("filmroom: {text}"));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
