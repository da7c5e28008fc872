//! What must stay true of the workspace, as tests: which room may depend on which, and that generated files are fresh.

/// The JSON Schemas of what people write, by the file in `docs` that holds each.
pub(crate) fn schemas() -> Result<[(&'static str, String); 2], String> {
    let text = |schema: serde_json::Value| {
        serde_json::to_string_pretty(&schema).map(|text| text + "\n").map_err(|error| error.to_string())
    };
    Ok([
        ("spec.schema.json", text(steersman_domain::ModelSpec::json_schema())?),
        ("config.schema.json", text(steersman_domain::config::ServerConfig::json_schema())?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// Which rooms each room may depend on. ARCHITECTURE.md says why.
    const ALLOWED: [(&str, &[&str]); 13] = [
        ("domain", &[]),
        ("stats", &[]),
        ("ledger", &["domain"]),
        ("store", &["domain", "ledger"]),
        ("records", &["domain", "stats"]),
        ("query", &["domain", "stats", "records"]),
        ("watch", &["domain", "stats", "ledger", "records", "store"]),
        ("decide", &["domain", "stats", "ledger"]),
        ("gateway", &["domain"]),
        ("act", &["domain"]),
        ("prove", &["domain", "ledger"]),
        (
            "server",
            &[
                "domain", "stats", "ledger", "store", "records", "query", "watch", "decide", "gateway",
                "act", "prove",
            ],
        ),
        (
            "cli",
            &[
                "domain", "stats", "ledger", "store", "records", "query", "watch", "decide", "gateway",
                "act", "prove", "server",
            ],
        ),
    ];
    /// Rooms that do no I/O, read no clock, spawn nothing.
    const PURE: [&str; 4] = ["domain", "stats", "ledger", "decide"];

    /// Internal dependencies by crate, from cargo itself.
    fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(root())
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let internal =
            |name: &serde_json::Value| name.as_str()?.strip_prefix("steersman-").map(str::to_owned);
        let package = |package: &serde_json::Value| {
            let found = package["dependencies"].as_array()?.iter().filter(|found| found["kind"] != "dev");
            Some((internal(&package["name"])?, found.filter_map(|found| internal(&found["name"])).collect()))
        };
        metadata["packages"].as_array().unwrap().iter().filter_map(package).collect()
    }

    #[test]
    fn rooms_depend_only_on_the_rooms_they_may() {
        let found = dependencies();
        let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            allowed.keys().copied().collect::<Vec<_>>(),
            "a room is missing from the rules, or gone"
        );
        for (room, uses) in &found {
            for used in uses {
                assert!(
                    allowed[room.as_str()].contains(&used.as_str()),
                    "`{room}` may not depend on `{used}`"
                );
            }
        }
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn pure_rooms_do_no_io_and_read_no_clock() {
        let forbidden = [
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::env",
            "Instant::now",
            "SystemTime",
            "Timestamp::now",
            "tokio",
            "println!",
        ];
        for room in PURE {
            let mut files = Vec::new();
            sources(&root().join("crates").join(room).join("src"), &mut files);
            assert!(!files.is_empty());
            for file in files {
                let text = std::fs::read_to_string(&file).unwrap();
                for word in forbidden {
                    assert!(!text.contains(word), "`{word}` in {}", file.display());
                }
            }
        }
    }

    #[test]
    fn arrow_is_there_once() {
        let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
        for name in ["arrow", "parquet", "arrow-array"] {
            assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name}");
        }
    }

    #[test]
    fn the_schemas_are_fresh() {
        for (name, schema) in schemas().unwrap() {
            let written = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
            assert_eq!(written, schema, "{name}: run `cargo xtask schema`");
        }
    }
}
