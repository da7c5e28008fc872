//! Progress on a terminal: a bar with the date, and what happens as it happens. In a pipe there is no bar.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use std::io::{IsTerminal as _, Write as _};
use steersman_domain::{Entry, Fact, ModelName};
use steersman_prove::story::{Event, Tone, gather, tell};
use steersman_server::Platform;

/// Tells on the terminal what happens to a model.
pub(crate) struct Teller {
    bar: ProgressBar,
    colour: bool,
    model: ModelName,
    next: u64,
}

impl Teller {
    /// Nothing told yet.
    pub(crate) fn new(model: &ModelName) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let bar = ProgressBar::new(0);
        bar.set_draw_target(if terminal {
            ProgressDrawTarget::stdout()
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template("{bar:32.cyan/dim} {msg}") {
            bar.set_style(style.progress_chars("━━╌"));
        }
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { bar, colour, model: model.clone(), next: 0 }
    }

    /// Prints a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            let _ = writeln!(std::io::stdout(), "{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Prints what was written to the ledger since the last time.
    pub(crate) async fn tell(&mut self, platform: &Platform) -> anyhow::Result<()> {
        loop {
            let entries = platform.store().entries(self.next, 1_000).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            self.next = last.seq + 1;
            // That single signals are over says little; the end of the incident is told.
            let worth = |entry: &&Entry| !matches!(entry.fact, Fact::SignalCleared { .. });
            let told =
                entries.iter().filter(worth).filter_map(tell).filter(|event| event.model == self.model);
            for event in gather(&told.collect::<Vec<_>>()) {
                self.line(&event_line(&event, self.colour));
            }
        }
    }

    /// Moves the bar.
    pub(crate) fn step(&self, step: u64, total: u64, now: Timestamp, platform: &Platform) {
        let state = platform.state();
        let Some(model) = state.models.get(&self.model) else { return };
        let champion = model.champion().map(|version| version.to_string()).unwrap_or_default();
        let rollout = model.active_rollout().map_or(String::new(), |rollout| {
            let weight = rollout.current_stage().map_or(0.0, |stage| 100.0 * stage.weight);
            format!(", {} at {weight:.0} %", rollout.candidate)
        });
        self.bar.set_length(total);
        self.bar.set_position(step);
        self.bar.set_message(format!("{}  {champion} serves{rollout}", now.strftime("%-d %b %Y")));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// One event in one line.
fn event_line(event: &Event, colour: bool) -> String {
    let (mark, code) = match event.tone {
        Tone::Good => ("+", "32"),
        Tone::Bad => ("!", "31"),
        Tone::Neutral => ("·", "2"),
    };
    let day = event.at.strftime("%d %b");
    let detail: String = shorten(&event.detail, 150);
    if colour {
        format!("{day}  \u{1b}[{code}m{mark} {}\u{1b}[0m  \u{1b}[2m{detail}\u{1b}[0m", event.title)
    } else {
        format!("{day}  {mark} {}  {detail}", event.title)
    }
}

fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Progress of a command that works through steps, beside its result; nothing in a pipe.
pub(crate) struct Steps(ProgressBar);

/// Starts with a step of unknown length.
pub(crate) fn steps(what: &'static str) -> Steps {
    let bar = ProgressBar::new(0);
    bar.set_draw_target(if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    if let Ok(style) = ProgressStyle::with_template("{bar:32.cyan/dim} {msg} {elapsed}") {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar.set_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    Steps(bar)
}

impl Steps {
    /// Goes on with another step.
    pub(crate) fn say(&self, what: &'static str) {
        self.0.set_message(what);
    }

    /// So many of so many parts are done.
    pub(crate) fn at(&self, done: usize, all: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(done as u64);
    }

    /// Makes room for the result.
    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}
