//! `steersman learn-train`: a snapshot in, a model out.

use super::{Feature, Learned};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use forust_ml::objective::ObjectiveType;
use forust_ml::{GradientBooster, Matrix};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Trees, how much each of them corrects, and how fine it may be.
const TREES: usize = 80;
const LEARNING_RATE: f32 = 0.06;
const LEAVES: usize = 15;
/// Sum of `p (1 - p)` that a leaf needs: about forty rows at the usual share of late flights.
const LEAST_LEAF_WEIGHT: f32 = 6.0;
/// A category's share of positive labels is mixed with the overall share as if that had been seen this often in it.
const PRIOR_ROWS: f64 = 50.0;

/// Trains a binary classifier on a snapshot in CSV.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The snapshot: a header line, then `id`, `time`, features and the label.
    #[arg(long)]
    data: PathBuf,
    /// The folder in which the model is left.
    #[arg(long)]
    out: PathBuf,
    /// The column with the label, 0 or 1.
    #[arg(long)]
    label: String,
    /// The same seed and data give the same model.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Turns this share of the labels around: for drills, makes a bad version on purpose.
    #[arg(long, default_value_t = 0.0)]
    flip_labels: f64,
}

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let (names, rows) = read(args)?;
    let label = names.iter().position(|name| *name == args.label).with_context(|| {
        format!("`{}` has no column `{}`; it has {}", args.data.display(), args.label, names.join(", "))
    })?;
    let mut labels = labels(args, &rows, label)?;
    flip(&mut labels, args.flip_labels, args.seed);
    let features: Vec<Feature> = names
        .iter()
        .enumerate()
        .filter(|(index, name)| *index != label && !["id", "time"].contains(&name.as_str()))
        .map(|(index, name)| feature(name, index, &rows, &labels))
        .collect();
    let places: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut columns = Vec::with_capacity(features.len() * rows.len());
    for feature in &features {
        columns.extend(rows.iter().map(|row| feature.encode(Some(&row[places[feature.name()]]))));
    }
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::LogLoss)
        .set_iterations(TREES)
        .set_learning_rate(LEARNING_RATE)
        .set_max_leaves(LEAVES)
        .set_min_leaf_weight(LEAST_LEAF_WEIGHT)
        .set_initialize_base_score(true)
        // The same data give the same model on every machine.
        .set_parallel(false)
        .set_seed(args.seed);
    booster
        .fit_unweighted(&Matrix::new(&columns, rows.len(), features.len()), &labels, None)
        .map_err(|error| anyhow::anyhow!("training failed: {error}"))?;
    let learned = Learned { features, booster };
    let fitted = learned.probabilities(&columns, rows.len());
    let brier = fitted.iter().zip(&labels).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / rows.len() as f64;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make `{}`", args.out.display()))?;
    learned.save(&args.out)?;
    let metrics = BTreeMap::from([
        ("rows", rows.len() as f64),
        ("positive_share", labels.iter().sum::<f64>() / rows.len() as f64),
        ("train_brier", brier),
    ]);
    let path = args.out.join("metrics.json");
    std::fs::write(&path, serde_json::to_string(&metrics)?)
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn read(args: &TrainArgs) -> Result<(Vec<String>, Vec<csv::StringRecord>)> {
    let shown = args.data.display();
    let mut reader = csv::Reader::from_path(&args.data).with_context(|| format!("cannot read `{shown}`"))?;
    let names = reader
        .headers()
        .with_context(|| format!("`{shown}` has no header"))?
        .iter()
        .map(str::to_owned)
        .collect();
    let rows = reader
        .records()
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("`{shown}` cannot be read"))?;
    if rows.is_empty() {
        bail!("`{shown}` holds no rows");
    }
    Ok((names, rows))
}

fn labels(args: &TrainArgs, rows: &[csv::StringRecord], column: usize) -> Result<Vec<f64>> {
    let labels: Vec<f64> = rows
        .iter()
        .enumerate()
        .map(|(row, cells)| match &cells[column] {
            "1" | "true" => Ok(1.0),
            "0" | "false" => Ok(0.0),
            other => bail!("{} line {}: label `{other}` is not 0 or 1", args.data.display(), row + 2),
        })
        .collect::<Result<_>>()?;
    if labels.iter().all(|label| *label == labels[0]) {
        bail!("all labels are {}: there is nothing to learn", labels[0]);
    }
    Ok(labels)
}

/// A column of numbers if all its cells are numbers, otherwise of categories.
fn feature(name: &str, column: usize, rows: &[csv::StringRecord], labels: &[f64]) -> Feature {
    let cells = || rows.iter().map(|row| &row[column]).zip(labels).filter(|(cell, _)| !cell.is_empty());
    if cells().all(|(cell, _)| cell.parse::<f64>().is_ok()) {
        return Feature::Number { name: name.to_owned() };
    }
    let overall = labels.iter().sum::<f64>() / labels.len() as f64;
    let mut counts: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (cell, label) in cells() {
        let (positive, count) = counts.entry(cell).or_default();
        *positive += label;
        *count += 1.0;
    }
    let share = |(positive, count): (f64, f64)| (positive + PRIOR_ROWS * overall) / (count + PRIOR_ROWS);
    let shares =
        counts.into_iter().map(|(category, counted)| (category.to_owned(), share(counted))).collect();
    Feature::Category { name: name.to_owned(), shares }
}

/// Turns a share of the labels around, chosen by a fixed sequence.
fn flip(labels: &mut [f64], share: f64, seed: u64) {
    let mut state = seed;
    for label in labels {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chance = (state >> 11) as f64 / (1u64 << 53) as f64;
        if chance < share {
            *label = 1.0 - *label;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(name: &str, flip_labels: f64) -> (tempfile::TempDir, TrainArgs) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data.csv");
        let mut text = "id,time,x,town,late\n".to_owned();
        for row in 0..400u32 {
            let late = u32::from((row * 7) % 20 > 9);
            text.push_str(&format!(
                "r{row},2026-01-01T00:00:00Z,{},{},{late}\n",
                (row * 7) % 20,
                ["a", "b", ""][row as usize % 3]
            ));
        }
        std::fs::write(&data, text).unwrap();
        let args =
            TrainArgs { data, out: dir.path().join(name), label: "late".to_owned(), seed: 7, flip_labels };
        run(&args).unwrap();
        (dir, args)
    }

    #[test]
    fn the_same_data_give_the_same_model_and_it_reads_back() {
        let ((_one, first), (_two, second)) = (trained("m", 0.0), trained("m", 0.0));
        let text = |args: &TrainArgs| std::fs::read_to_string(args.out.join("model.json")).unwrap();
        assert_eq!(text(&first), text(&second));
        let learned = Learned::load(&first.out).unwrap();
        // Two rows, column by column: x, then town; `z` was never seen.
        let town = |cell| learned.features[1].encode(Some(cell));
        let probabilities = learned.probabilities(&[18.0, 2.0, town("a"), town("z")], 2);
        assert!(probabilities[0] > 0.7 && probabilities[1] < 0.3, "{probabilities:?}");
    }

    #[test]
    fn turned_labels_make_a_bad_model() {
        let (_dir, args) = trained("bad", 1.0);
        let probabilities =
            Learned::load(&args.out).unwrap().probabilities(&[18.0, 2.0, f64::NAN, f64::NAN], 2);
        assert!(probabilities[0] < 0.3 && probabilities[1] > 0.7, "{probabilities:?}");
    }

    #[test]
    fn a_bad_label_is_named_with_its_line() {
        let (dir, mut args) = trained("m", 0.0);
        std::fs::write(&args.data, "id,time,x,late\na,t,1,1\nb,t,1,maybe\n").unwrap();
        assert!(run(&args).unwrap_err().to_string().ends_with("line 3: label `maybe` is not 0 or 1"));
        args.label = "truth".to_owned();
        assert!(run(&args).unwrap_err().to_string().contains("has no column `truth`"));
        drop(dir);
    }
}
