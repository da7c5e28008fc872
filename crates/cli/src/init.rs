//! `steersman init`: a commented spec from a data file.

use crate::output::{note, warn};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::path::PathBuf;
use steersman_domain::ModelSpec;
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, FrameColumn, Selection};

/// Writes a commented spec from a data file: CSV, JSON lines or Parquet, also packed.
///
/// Examples:
///   steersman init churn.csv --label churned > churn.toml
///   steersman init flights.parquet --label late --time ts --name flight-delay --out flight-delay.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InitArgs {
    /// Labelled history.
    data: PathBuf,
    /// The column with the truth.
    #[arg(long)]
    label: String,
    /// The column with the time of the prediction [default: the first that holds times].
    #[arg(long)]
    time: Option<String>,
    /// The column with the record id [default: `id`, if its values are unique].
    #[arg(long)]
    id: Option<String>,
    /// Name of the model [default: the file's].
    #[arg(long)]
    name: Option<String>,
    /// Write to this file, which must not be there yet [default: print].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &InitArgs) -> Result<()> {
    let frame = Frame::read(&args.data.display().to_string(), &Selection::default())?;
    ensure!(frame.rows > 0, "`{}` holds no rows", args.data.display());
    frame.notes.iter().for_each(|what| warn(what));
    let columns = &frame.columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let find = |name: &str, what: &str| {
        let found = columns.iter().find(|column| column.name == name);
        found.with_context(|| {
            format!("{what}: `{}` has no column `{name}`; it has {}", args.data.display(), names.join(", "))
        })
    };
    let label = find(&args.label, "--label")?;
    ensure!(
        matches!(label.kind, DataKind::Numeric | DataKind::Boolean),
        "--label: `{}` holds text; labels are numbers, or 0/1 or true/false for a binary model",
        label.name
    );
    let time = match &args.time {
        Some(name) => find(name, "--time")?,
        None => columns
            .iter()
            .find(|column| column.kind == DataKind::Datetime)
            .context("no column holds times: name one with --time")?,
    };
    let id = match &args.id {
        Some(name) => Some(find(name, "--id")?),
        None => columns.iter().find(|column| column.name == "id" && column.distinct() == frame.rows),
    };
    let text = spec(args, columns, label, time, id)?;
    ModelSpec::parse(&text).context("the spec that was made is not valid; name the model with --name")?;
    match &args.out {
        None => note(text.trim_end()),
        Some(path) => {
            ensure!(!path.exists(), "`{}` is there already", path.display());
            std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
            note(&format!(
                "wrote {}; complete it, then `steersman apply {}`",
                path.display(),
                path.display()
            ));
        }
    }
    Ok(())
}

/// A model's name from a file's.
fn name_of(args: &InitArgs) -> String {
    let stem = args.data.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let name = name.trim_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned();
    if name.is_empty() { "model".to_owned() } else { name }
}

/// Whether all values are 0 and 1, or true and false.
fn binary(column: &FrameColumn) -> bool {
    column.numbers().into_iter().flatten().all(|number| number == 0.0 || number == 1.0)
}

fn spec(
    args: &InitArgs,
    columns: &[FrameColumn],
    label: &FrameColumn,
    time: &FrameColumn,
    id: Option<&FrameColumn>,
) -> Result<String> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let name = args.name.clone().unwrap_or_else(|| name_of(args));
    let (task, metric) = if binary(label) { ("binary", "brier") } else { ("regression", "mae") };
    let reference = match &args.out {
        // Paths in a spec start from its own folder.
        Some(out) => {
            let folder =
                std::path::absolute(out)?.parent().map(std::path::Path::to_owned).unwrap_or_default();
            let data = std::path::absolute(&args.data)?;
            data.strip_prefix(&folder).map(std::path::Path::to_owned).unwrap_or(data)
        }
        None => args.data.clone(),
    };
    let own = [Some(label), Some(time), id];
    let is_own = |column: &FrameColumn| own.iter().flatten().any(|own| own.name == column.name);
    // Further times would be read as categories, each of them once.
    let ignored: Vec<String> = columns
        .iter()
        .filter(|column| column.kind == DataKind::Datetime && !is_own(column))
        .map(|column| quoted(&column.name))
        .collect();
    let describe = |column: &FrameColumn| {
        let missing = match column.missing() {
            0 => String::new(),
            missing => format!(", {missing} missing"),
        };
        format!("#   {}: {}, {} distinct{missing}", column.name, column.kind.as_str(), column.distinct())
    };
    let features =
        columns.iter().filter(|column| !is_own(column) && column.kind != DataKind::Datetime).map(describe);
    let features = features.collect::<Vec<_>>().join("\n");
    let id_line = id
        .map_or("# id = \"...\"                 # without it rows are numbered".to_owned(), |id| {
            format!("id = {}", quoted(&id.name))
        });
    let ignore_line = match ignored.is_empty() {
        true => "# ignore = [\"...\"]           # columns that are not features".to_owned(),
        false => format!("ignore = [{}]", ignored.join(", ")),
    };
    Ok(format!(
        r#"# A Steersman spec. `steersman apply` declares the model; keys that are commented out show their defaults.

[model]
name = {name}
# team = "default"
task = "{task}"
prediction = "score"           # the output of your model server
label = {{ column = {label}, expected_delay = "1d" }}   # how long until the truth is usually known

[data]
reference = {reference}        # schema and what is ordinary are learnt from it
time = {time}
{id_line}
{ignore_line}
# categorical = ["..."]        # columns of numbers that are categories
# Features that were found:
{features}

[watch]
window = "1d"
# lateness = "1h"              # how long a window waits for late records
false_alarms = "1 per 30d"     # how often a false alarm is acceptable
performance = {{ metric = "{metric}" }}   # add `floor` or `drop` to say what is too bad
# [watch.quality.columns.NAME] # where you know better than the reference: range, categories, missing, ignore
# range = [0, 100]

# Uncomment to let Steersman train and serve. Programs run in this file's folder.
# [retrain]
# command = ["python", "train.py", "--data", "{{snapshot}}", "--out", "{{artifact}}"]
# trigger = "2 of 5"           # train when 2 of the last 5 windows were bad
# cooldown = "1d"
# holdout = "7d"               # kept from training, to compare candidate and champion on
#
# [serve]
# command = ["python", "serve.py", "--model", "{{artifact}}", "--port", "{{port}}"]
#
# [rollout]
# stages = ["shadow 1h", "5%", "25%", "100%"]
# guardrails = ["errors", "performance"]
# approval = "none"            # none | before_start | before_full
"#,
        name = quoted(&name),
        label = quoted(&label.name),
        reference = quoted(&reference.display().to_string()),
        time = quoted(&time.name),
    ))
}
