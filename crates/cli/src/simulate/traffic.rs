//! Figures of the traffic that rollouts are simulated on: measured in a file, or as given.

use anyhow::{Result, anyhow};
use clap::Args;
use steersman_decide::judge::{loss, wrong};
use steersman_decide::simulate::steady;
use steersman_domain::simulation::SimulatedTraffic;
use steersman_domain::{ModelSpec, Period, Problem};
use steersman_records::frame::{Frame, FrameColumn, Selection};

const HOUR: i64 = 3_600_000_000;
/// Stretches of a season: the hours of a week where there are two of them, else those of a day where there are two.
const SEASONS: [usize; 2] = [168, 24];
/// Records over more hours than a century has are no traffic.
const MOST_HOURS: i64 = 100 * 366 * 24;
/// Parts into which the delays of labels are cut.
const DELAYS: usize = 20;

/// Which columns of the traffic hold what.
#[derive(Debug, Args)]
pub(crate) struct Columns {
    /// The column with the time of the request [default: that of the spec, or `time`].
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// The column with the model's output [default: that of the spec].
    #[arg(long, value_name = "NAME")]
    prediction: Option<String>,
    /// The column with the truth [default: that of the spec, or `label`].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The column with the time at which the truth became known [default: that of the spec, or `label_time`].
    #[arg(long, value_name = "NAME")]
    label_time: Option<String>,
    /// The column with the HTTP status of the call [default: `status`].
    #[arg(long, value_name = "NAME")]
    status: Option<String>,
}

/// Figures that are given.
#[derive(Debug, Args)]
pub(crate) struct Figures {
    /// Requests a day.
    #[arg(long, value_name = "N", value_parser = requests)]
    pub(crate) per_day: Option<f64>,
    /// The champion's share of failed calls.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    errors: Option<f64>,
    /// Its share of calls without an answer.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    timeouts: Option<f64>,
    /// Its share of wrong predictions.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    wrong: Option<f64>,
    /// Share of the predictions of which one of two good versions is right and the other wrong [default: half of the wrong
    /// ones].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    differ: Option<f64>,
    /// Share of the requests whose label comes at all.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    labelled: Option<f64>,
    /// How long after the request the label comes, such as `3h` [default: `expected_delay` of the spec].
    #[arg(long, value_name = "PERIOD")]
    delay: Option<Period>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is not a share between 0 and 1"))
}

fn requests(text: &str) -> Result<f64, String> {
    let count = text.trim().parse().ok().filter(|count: &f64| (1e-3..=1e12).contains(count));
    count.ok_or_else(|| format!("`{text}` is not a number of requests above 0"))
}

/// The traffic, and what a reader should know of where its figures come from.
pub(crate) fn read(
    source: Option<&str>,
    condition: Option<&str>,
    columns: &Columns,
    figures: &Figures,
    spec: &ModelSpec,
) -> Result<(SimulatedTraffic, Vec<String>)> {
    let mut traffic = steady(figures.per_day.unwrap_or(1.0));
    traffic.label_delays = vec![spec.model.label.expected_delay.seconds() as f64];
    let mut notes = Vec::new();
    // What is neither measured nor given is assumed, and said.
    let mut assumed: Vec<&str> = vec!["failed calls", "wrong predictions"];
    if let Some(source) = source {
        let frame = Frame::read(
            source,
            &Selection { condition: condition.map(str::to_owned), ..Selection::default() },
        )?;
        measure(&frame, columns, spec, &mut traffic, &mut assumed)?;
        notes.extend(frame.notes.iter().cloned());
    } else if figures.per_day.is_none() {
        return Err(anyhow!(
            Problem::invalid("how much traffic is there?")
                .field("--per-day")
                .hint("give the requests a day, or `--traffic DATA`, or a SPEC with its reference")
        ));
    } else if condition.is_some() {
        return Err(anyhow!(
            Problem::invalid("there are no rows to choose from")
                .field("--where")
                .hint("add `--traffic DATA`")
        ));
    }
    if let Some(per_day) = figures.per_day {
        let scale = per_day / traffic.per_day;
        traffic.rates.iter_mut().for_each(|rate| *rate *= scale);
        traffic.per_day = per_day;
    }
    if let Some(errors) = figures.errors {
        traffic.errors = errors;
        assumed.retain(|what| *what != "failed calls");
    }
    traffic.timeouts = figures.timeouts.unwrap_or(traffic.timeouts).min(traffic.errors);
    if let Some(wrong) = figures.wrong {
        traffic.wrong = wrong;
        assumed.retain(|what| *what != "wrong predictions");
    }
    traffic.differ = figures.differ.unwrap_or(traffic.wrong / 2.0);
    // Two versions that are wrong equally often differ at most where one of them is.
    traffic.differ = traffic.differ.min(2.0 * traffic.wrong.min(1.0 - traffic.wrong));
    traffic.labelled = figures.labelled.unwrap_or(traffic.labelled);
    if let Some(delay) = figures.delay {
        traffic.label_delays = vec![delay.seconds() as f64];
    }
    if !assumed.is_empty() {
        notes.push(format!("Assumed, as nothing says it: the share of {}.", assumed.join(" and of ")));
    }
    Ok((traffic, notes))
}

/// The first of these columns that the frame has; a column that was asked for must be there.
fn find<'a>(
    frame: &'a Frame,
    asked: Option<&String>,
    usual: &[Option<&str>],
) -> Result<Option<&'a FrameColumn>, Problem> {
    match asked {
        Some(name) => frame.require(name).map(Some),
        None => Ok(usual.iter().flatten().find_map(|name| frame.column(name))),
    }
}

fn measure(
    frame: &Frame,
    columns: &Columns,
    spec: &ModelSpec,
    traffic: &mut SimulatedTraffic,
    assumed: &mut Vec<&str>,
) -> Result<(), Problem> {
    let model = &spec.model;
    traffic.source = frame.source.clone();
    let Some(time) = find(frame, columns.time.as_ref(), &[Some(spec.data.time.as_str()), Some("time")])?
    else {
        let names: Vec<&str> = frame.columns.iter().map(|column| column.name.as_str()).collect();
        return Err(Problem::invalid(format!("`{}` has no column `{}`", frame.source, spec.data.time))
            .field("--time")
            .hint(format!("its columns are {}", names.join(", "))));
    };
    let times = time.times();
    flow(frame, &time.name, times.iter().flatten().copied().collect(), traffic)?;
    if let Some(status) = find(frame, columns.status.as_ref(), &[Some("status")])? {
        let codes: Vec<f64> = status.numbers().into_iter().flatten().collect();
        if !codes.is_empty() {
            let share = |bad: fn(f64) -> bool| {
                codes.iter().filter(|code| bad(**code)).count() as f64 / codes.len() as f64
            };
            traffic.errors = share(|code| code == 0.0 || code >= 500.0);
            traffic.timeouts = share(|code| code == 0.0 || code == 504.0);
            assumed.retain(|what| *what != "failed calls");
        }
    }
    let label = [Some(model.label.column.as_str()), Some("label")];
    let Some(target) = find(frame, columns.target.as_ref(), &label)? else { return Ok(()) };
    let truths = target.numbers();
    traffic.labelled = truths.iter().flatten().count() as f64 / frame.rows.max(1) as f64;
    if let Some(output) = find(frame, columns.prediction.as_ref(), &[Some(model.prediction.as_str())])? {
        let both: Vec<(f64, f64)> = output
            .numbers()
            .into_iter()
            .zip(&truths)
            .filter_map(|(output, truth)| output.zip(*truth))
            .collect();
        let rows = both.len().max(1) as f64;
        let usual = both.iter().map(|(output, truth)| loss(model.task, *output, *truth)).sum::<f64>() / rows;
        let is_wrong = |(output, truth): &&(f64, f64)| wrong(spec, Some(5.0 * usual), *output, *truth);
        if !both.is_empty() {
            traffic.wrong = both.iter().filter(is_wrong).count() as f64 / rows;
            assumed.retain(|what| *what != "wrong predictions");
        }
    }
    let known = [model.label.time.as_deref(), Some("label_time")];
    if let Some(known) = find(frame, columns.label_time.as_ref(), &known)? {
        let mut delays: Vec<f64> = times
            .iter()
            .zip(known.times())
            .zip(&truths)
            .filter(|(_, truth)| truth.is_some())
            .filter_map(|((asked, known), _)| Some((known? - (*asked)?).max(0) as f64 / 1e6))
            .collect();
        delays.sort_by(f64::total_cmp);
        let middle = |part: usize| delays.get((2 * part + 1) * delays.len() / (2 * DELAYS)).copied();
        if !delays.is_empty() {
            traffic.label_delays = (0..DELAYS).filter_map(middle).collect();
        }
    }
    Ok(())
}

/// Requests over the season.
fn flow(
    frame: &Frame,
    name: &str,
    mut times: Vec<i64>,
    traffic: &mut SimulatedTraffic,
) -> Result<(), Problem> {
    times.sort_unstable();
    let refused = |message: String| Err(Problem::invalid(message).field("--time"));
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return refused(format!("column `{name}` of `{}` holds no times", frame.source));
    };
    if first == last {
        return refused(format!("all rows of `{}` have the same time", frame.source));
    }
    let (from, to) = (first.div_euclid(HOUR), last.div_euclid(HOUR));
    if to.saturating_sub(from) > MOST_HOURS {
        return refused(format!("`{}` spans more than a century", frame.source));
    }
    let span = (last - first) as f64 / 1e6;
    traffic.per_day = times.len() as f64 / span * 86_400.0;
    traffic.rates = vec![times.len() as f64 / span];
    traffic.stretch_seconds = 86_400.0;
    let Some(hours) = SEASONS.into_iter().find(|hours| span >= (2 * hours * 3_600) as f64) else {
        return Ok(());
    };
    let slot = |hour: i64| hour.rem_euclid(hours as i64) as usize;
    let (mut counts, mut seconds) = (vec![0.0; hours], vec![0.0; hours]);
    times.iter().for_each(|at| counts[slot(at.div_euclid(HOUR))] += 1.0);
    for hour in from..=to {
        let within = (last.min((hour + 1) * HOUR) - first.max(hour * HOUR)) as f64 / 1e6;
        seconds[slot(hour)] += within.max(0.0);
    }
    traffic.rates = counts.iter().zip(&seconds).map(|(count, seconds)| count / seconds.max(1.0)).collect();
    traffic.stretch_seconds = 3_600.0;
    traffic.per_day = 86_400.0 * traffic.rates.iter().sum::<f64>() / hours as f64;
    Ok(())
}
