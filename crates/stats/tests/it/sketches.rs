//! Stored profiles, and sketches in the formats of Apache DataSketches (`tests/fixtures/make_sketches.py`).

use datasketches::common::SearchCriteria;
use datasketches::hll::HllSketch;
use datasketches::kll::{KllFloat, KllSketch};
use proptest::prelude::*;
use serde_json::Value;
use std::process::Command;
use steersman_stats::profile::{Bins, CategoricalProfile, ColumnProfile, NumericProfile};

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn numbers() -> NumericProfile {
    let mut profile = NumericProfile::new(Bins::quantiles(&[0.0, 2_500.0, 5_000.0], 3).unwrap()).unwrap();
    profile.update((0..20_000u32).map(|row| Some(f64::from(row % 5_000))));
    profile
}

#[test]
fn sketches_of_the_python_package_are_read() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/sketches.json")).unwrap();
    let quantiles = KllSketch::<KllFloat<f64>>::deserialize(&bytes(&fixture["quantiles"])).unwrap();
    let median = quantiles.quantile(0.5, SearchCriteria::Inclusive).unwrap().unwrap().into_inner();
    assert!((median - fixture["median"].as_f64().unwrap()).abs() <= 1.0, "{median}");
    assert_eq!(quantiles.n(), fixture["n"].as_u64().unwrap());
    let distinct = HllSketch::deserialize(&bytes(&fixture["distinct"])).unwrap();
    assert!(
        (distinct.estimate() - fixture["estimate"].as_f64().unwrap()).abs() < 1e-6,
        "{}",
        distinct.estimate()
    );
    // The same values give the same estimate here.
    let mut profile = CategoricalProfile::new().unwrap();
    let values: Vec<String> = (0..20_000).map(|row| format!("value {}", row % 5_000)).collect();
    profile.update(values.iter().map(|value| Some(value.as_str())));
    assert!((profile.distinct() - distinct.estimate()).abs() < 1e-6, "{}", profile.distinct());
}

#[test]
fn the_python_package_reads_ours() {
    let profile = numbers();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/make_sketches.py");
    let python = std::env::var("STEERSMAN_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let arguments = [hex(&profile.quantile_sketch()), hex(&profile.distinct_sketch())];
    let output = Command::new(python).args([script, "read"]).args(arguments).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("skipped: no Python with the package datasketches (set STEERSMAN_TEST_PYTHON)");
        return;
    };
    let read: [f64; 3] = serde_json::from_slice(&output.stdout).unwrap();
    assert!((read[0] - profile.quantile(0.5).unwrap()).abs() <= 1.0, "{read:?}");
    assert!(read[1] == 20_000.0 && (read[2] - profile.distinct()).abs() < 1e-6, "{read:?}");
}

#[test]
fn more_categories_than_are_kept_are_counted_within_their_error() {
    let mut profile = CategoricalProfile::new().unwrap();
    let values: Vec<String> = (0..60_000u32)
        .map(|row| if row % 3 == 0 { "often".to_owned() } else { format!("rare {row}") })
        .collect();
    profile.update(values.iter().map(|value| Some(value.as_str())));
    let often = profile.categories()["often"];
    assert!(
        often <= 20_000 && often + profile.count_error() >= 20_000,
        "{often} + {}",
        profile.count_error()
    );
    assert!(profile.count_error() <= 60_000 / 1_001 && profile.categories().len() <= 2_000);
    assert_eq!(profile.lengths().map(|(short, long, _)| (short, long)), Some((5, 10)));
}

proptest! {
    #[test]
    fn stored_profiles_come_back_and_damaged_ones_are_refused(cut in 0usize..400, flip in 0usize..400) {
        let mut text = CategoricalProfile::new().unwrap();
        text.update([Some("a"), None, Some("b"), Some("a")]);
        for profile in [ColumnProfile::Numeric(numbers()), ColumnProfile::Categorical(text)] {
            let bytes = profile.to_bytes().unwrap();
            prop_assert_eq!(&ColumnProfile::from_bytes(&bytes).unwrap(), &profile);
            prop_assert!(ColumnProfile::from_bytes(&bytes[..cut.min(bytes.len() - 1)]).is_err());
            let mut damaged = bytes.clone();
            damaged[flip.min(bytes.len() - 1)] ^= 0x55;
            // Whatever comes back, nothing breaks.
            let _ = ColumnProfile::from_bytes(&damaged);
        }
        prop_assert!(ColumnProfile::from_bytes(b"SMPF\x07\x00").unwrap_err().to_string().contains("version"));
    }
}
