//! The ledger for machines: entries, and checkpoint and tiles as C2SP `tlog-tiles` has them.

use super::ApiProblem;
use crate::Platform;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use steersman_domain::{Entry, Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    #[serde(default)]
    from: u64,
    #[serde(default = "usual")]
    limit: u32,
}

fn usual() -> u32 {
    100
}

pub(super) async fn entries(
    State(platform): State<Platform>,
    Query(range): Query<Range>,
) -> Result<Json<Vec<Entry>>, ApiProblem> {
    Ok(Json(platform.store().entries(range.from, range.limit.min(1_000)).await?))
}

pub(super) async fn checkpoint(State(platform): State<Platform>) -> Result<String, ApiProblem> {
    let checkpoint = platform.store().checkpoint().await?;
    Ok(checkpoint.ok_or_else(|| Problem::not_found("the ledger is empty"))?)
}

/// `tile/{level}/{index}`, with `.p/{width}` for an unfinished one.
pub(super) async fn tile(
    State(platform): State<Platform>,
    Path(path): Path<String>,
) -> Result<impl IntoResponse, ApiProblem> {
    let unknown = || Problem::not_found(format!("there is no tile `{path}`"));
    let (level, index, width) = parse(&path).ok_or_else(unknown)?;
    let mut hashes = platform.store().tile(level, index).await?.ok_or_else(unknown)?;
    let wanted = width * 32;
    if hashes.len() < wanted {
        return Err(unknown().into());
    }
    hashes.truncate(wanted);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], hashes))
}

fn parse(path: &str) -> Option<(u8, u64, usize)> {
    let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (place, width) = match place.split_once(".p/") {
        Some((place, width)) => (place, width.parse().ok().filter(|width| (1..256).contains(width))?),
        None => (place, 256),
    };
    let mut index = 0u64;
    for (position, part) in place.split('/').rev().enumerate() {
        let digits = if position == 0 { part } else { part.strip_prefix('x')? };
        let number: u64 = digits.parse().ok().filter(|_| digits.len() == 3)?;
        index =
            index.checked_add(number.checked_mul(1_000u64.checked_pow(u32::try_from(position).ok()?)?)?)?;
    }
    Some((level.parse().ok()?, index, width))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tile_paths_are_those_of_the_specification() {
        assert_eq!(super::parse("tile/0/x001/x234/067.p/5"), Some((0, 1_234_067, 5)));
        assert_eq!(super::parse("tile/1/000"), Some((1, 0, 256)));
        assert_eq!(super::parse("tile/0/../x"), None);
    }
}
