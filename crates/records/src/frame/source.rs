//! Which files a path means, and what is in them.

use super::text::{csv_columns, json_columns};
use crate::foreign::{CONTRADICTION, guarded};
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer};
use flate2::read::MultiGzDecoder;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::{Digest, ErrorKind, Problem};

/// More bytes than this are not unpacked: a small file could fill the memory.
const MOST_UNPACKED: u64 = 16 << 30;
/// Bytes at the end of an Arrow file: the length of its footer, and `ARROW1`.
const FOOTER_END: usize = 10;
/// What files of a folder end with, before `.gz` or `.zst`.
const ENDINGS: [&str; 10] =
    ["csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet", "pq", "arrow", "feather"];
const HINT: &str = "CSV, JSON lines, Parquet and Arrow files are read, also packed with gzip or zstd";

/// What was in the files, before kinds are inferred.
pub(super) struct Raw {
    pub(super) source: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) columns: Vec<(String, ArrayRef)>,
    pub(super) rows: usize,
    pub(super) notes: Vec<String>,
    pub(super) digest: Digest,
    pub(super) first_line: Option<usize>,
}

/// One file's columns.
pub(super) struct Part {
    pub(super) columns: Vec<(String, ArrayRef)>,
    pub(super) rows: usize,
    pub(super) notes: Vec<String>,
    /// Rows are lines, the first of them this one.
    pub(super) first_line: Option<usize>,
}

/// Reads all files that `path` means; only `wanted` columns where some are named, and `optional` ones if they are there.
pub(super) fn read(path: &str, wanted: &[String], optional: &[String]) -> Result<Raw, Problem> {
    let files = expand(path)?;
    let either: Vec<String> = wanted.iter().chain(optional).cloned().collect();
    let mut digests = Vec::with_capacity(files.len());
    let mut parts = Vec::with_capacity(files.len());
    let mut notes = Vec::new();
    for file in &files {
        let (mut part, digest) = read_file(file, &either).map_err(|problem| in_file(problem, file))?;
        unique_names(&mut part)?;
        let told = part.notes.drain(..);
        notes.extend(
            told.map(|note| if files.len() > 1 { format!("{}: {note}", file.display()) } else { note }),
        );
        digests.push(digest);
        parts.push(part);
    }
    let digest = match digests.as_slice() {
        [digest] => digest.clone(),
        all => Digest::of(all.iter().map(Digest::to_string).collect::<Vec<_>>().join("\n").as_bytes()),
    };
    let first_line = parts.first().filter(|_| files.len() == 1).and_then(|part| part.first_line);
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for (name, _) in parts.iter().flat_map(|part| &part.columns) {
        if known.insert(name.clone()) {
            names.push(name.clone());
        }
    }
    if let Some(absent) = wanted.iter().find(|name| !known.contains(*name)) {
        return Err(Problem::invalid(format!("`{path}` has no column `{absent}`"))
            .hint(format!("its columns are {}", names.join(", "))));
    }
    if !wanted.is_empty() {
        names.retain(|name| either.contains(name));
    }
    let rows = parts.iter().map(|part| part.rows).sum();
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let (values, note) = together(&name, &mut parts)?;
        notes.extend(note);
        columns.push((name, values));
    }
    Ok(Raw { source: path.to_owned(), files, columns, rows, notes, digest, first_line })
}

/// The files of a path, folder or pattern, in order of name.
pub(super) fn expand(path: &str) -> Result<Vec<PathBuf>, Problem> {
    let here = Path::new(path);
    if here.is_file() {
        return Ok(vec![here.to_owned()]);
    }
    let mut files = Vec::new();
    if here.is_dir() {
        collect(here, &mut files)?;
    } else if path.contains(['*', '?', '[']) {
        let found = glob::glob(path)
            .map_err(|error| Problem::invalid(format!("`{path}` is not a pattern: {error}")))?;
        for entry in found {
            let entry = entry.map_err(|error| Problem::io("read", error.path(), error.error()))?;
            if entry.is_file() {
                files.push(entry);
            }
        }
    } else {
        return Err(Problem::not_found(format!("there is no file or folder `{path}`")).hint(HINT));
    }
    files.sort();
    if files.is_empty() {
        return Err(Problem::not_found(format!("`{path}` holds no data file")).hint(HINT));
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let entries = std::fs::read_dir(folder).map_err(|error| Problem::io("list", folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| Problem::io("list", folder, &error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let inner = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        let ending = inner.rsplit_once('.').map_or("", |(_, ending)| ending);
        if path.is_dir() {
            collect(&path, files)?;
        } else if ENDINGS.contains(&ending) && !name.starts_with(['.', '_']) {
            files.push(path);
        }
    }
    Ok(())
}

fn in_file(problem: Problem, path: &Path) -> Problem {
    let place = problem.field.clone().map(|field| format!(", {field}")).unwrap_or_default();
    problem.field(format!("{}{place}", path.display()))
}

fn read_file(path: &Path, wanted: &[String]) -> Result<(Part, Digest), Problem> {
    let bytes = std::fs::read(path).map_err(|error| Problem::io("read", path, &error).hint(HINT))?;
    let digest = Digest::of(&bytes);
    let bytes = unpack(bytes)?;
    let part = if bytes.starts_with(b"PAR1") {
        from_parquet(bytes, wanted)?
    } else if bytes.starts_with(b"ARROW1") {
        guarded(|| not_arrow(CONTRADICTION), || from_batches(arrow_batches(bytes)?))?
    } else if path.extension().is_some_and(|ending| ending == "parquet") {
        return Err(
            Problem::invalid("cannot read the file as Parquet: it does not begin with `PAR1`").hint(HINT)
        );
    } else {
        let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        match first {
            None => return Err(Problem::invalid("the file is empty").hint(HINT)),
            Some(b'{' | b'[') => json_columns(bytes)?,
            Some(_) if bytes.iter().take(1_024).any(|byte| *byte == 0) => {
                return Err(Problem::invalid("the file is neither text nor a format that is read").hint(HINT));
            }
            Some(_) => csv_columns(bytes)?,
        }
    };
    Ok((part, digest))
}

/// Undoes gzip and zstd.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let drain = |reader: &mut dyn Read| -> Result<Vec<u8>, Problem> {
        let mut unpacked = Vec::new();
        let read = reader.take(MOST_UNPACKED + 1).read_to_end(&mut unpacked);
        let length =
            read.map_err(|error| Problem::invalid(format!("cannot unpack the file: {error}")).hint(HINT))?;
        if length as u64 > MOST_UNPACKED {
            let message = format!("more than {} GiB unpacked", MOST_UNPACKED >> 30);
            return Err(
                Problem::new(ErrorKind::TooLarge, message).hint("split the file, or store it as Parquet")
            );
        }
        Ok(unpacked)
    };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        drain(&mut MultiGzDecoder::new(&bytes[..]))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut reader = zstd::stream::read::Decoder::with_buffer(&bytes[..])
            .map_err(|error| Problem::invalid(format!("cannot unpack the file: {error}")))?;
        drain(&mut reader)
    } else {
        Ok(bytes)
    }
}

fn from_parquet(bytes: Vec<u8>, wanted: &[String]) -> Result<Part, Problem> {
    let broken = || Problem::invalid(format!("cannot read the file as Parquet: {CONTRADICTION}"));
    guarded(broken, || from_batches(crate::archive::parquet_batches(bytes::Bytes::from(bytes), wanted)?))
}

fn not_arrow(what: impl std::fmt::Display) -> Problem {
    Problem::invalid(format!("cannot read the file as Arrow: {what}"))
}

/// The batches of an Arrow file, at least one. They are slices of its bytes: nothing is set aside for what it claims and
/// does not have.
fn arrow_batches(bytes: Vec<u8>) -> Result<Vec<RecordBatch>, Problem> {
    let file = Buffer::from(bytes);
    let end = file.len().checked_sub(FOOTER_END).and_then(|at| file.get(at..)?.try_into().ok());
    let length = read_footer_length(end.ok_or_else(|| not_arrow("it is cut short"))?).map_err(not_arrow)?;
    let footer_at =
        (file.len() - FOOTER_END).checked_sub(length).ok_or_else(|| not_arrow("it is cut short"))?;
    let footer = file.get(footer_at..footer_at + length).unwrap_or_default();
    let footer = root_as_footer(footer).map_err(not_arrow)?;
    let schema = footer.schema().ok_or_else(|| not_arrow("it has no schema"))?;
    let schema = Arc::new(fb_to_schema(schema));
    let mut decoder = FileDecoder::new(schema.clone(), footer.version());
    let slice = |block: &Block| {
        let at = usize::try_from(block.offset()).ok();
        let length =
            usize::try_from(block.metaDataLength()).ok().zip(usize::try_from(block.bodyLength()).ok());
        let length = length.and_then(|(head, body)| head.checked_add(body));
        let within =
            |(at, length): (usize, usize)| at.checked_add(length).is_some_and(|end| end <= file.len());
        let (at, length) =
            at.zip(length).filter(|block| within(*block)).ok_or_else(|| not_arrow("it is cut short"))?;
        Ok::<_, Problem>(file.slice_with_length(at, length))
    };
    for block in footer.dictionaries().iter().flatten() {
        decoder.read_dictionary(block, &slice(block)?).map_err(not_arrow)?;
    }
    let mut batches = Vec::new();
    for block in footer.recordBatches().iter().flatten() {
        let Some(batch) = decoder.read_record_batch(block, &slice(block)?).map_err(not_arrow)? else {
            continue;
        };
        // Flags take a bit a row: more rows are a claim, and believing it would fill the memory.
        if batch.num_rows() / 8 > file.len() {
            return Err(not_arrow("it claims more rows than it has bytes"));
        }
        batches.push(batch);
    }
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    Ok(batches)
}

fn from_batches(mut batches: Vec<RecordBatch>) -> Result<Part, Problem> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Ok(Part { columns: Vec::new(), rows: 0, notes: Vec::new(), first_line: None });
    };
    let mut columns = Vec::with_capacity(schema.fields().len());
    let mut notes = Vec::new();
    // From the last column on, so that each one's parts are freed as soon as they are together.
    for index in (0..schema.fields().len()).rev() {
        let pieces: Vec<ArrayRef> = batches.iter_mut().map(|batch| batch.remove_column(index)).collect();
        let field = schema.field(index);
        let name = field.name().clone();
        if field.data_type().is_nested() {
            notes.push(format!("`{name}` was left out: columns of type {} are not read", field.data_type()));
            continue;
        }
        let borrowed: Vec<&dyn arrow::array::Array> = pieces.iter().map(AsRef::as_ref).collect();
        let values =
            concat(&borrowed).map_err(|error| Problem::invalid(error.to_string()).field(name.clone()))?;
        columns.push((name, values));
    }
    columns.reverse();
    Ok(Part { columns, rows, notes, first_line: None })
}

/// A column that occurs again gets a name of its own.
fn unique_names(part: &mut Part) -> Result<(), Problem> {
    let mut seen: HashSet<String> = HashSet::new();
    for (place, (name, _)) in part.columns.iter_mut().enumerate() {
        if name.trim().is_empty() {
            part.notes.push(format!("column {} has no name and is called `column_{}`", place + 1, place + 1));
            *name = format!("column_{}", place + 1);
        }
        if !seen.insert(name.clone()) {
            let fresh = (2..).map(|number| format!("{name}_{number}")).find(|fresh| !seen.contains(fresh));
            let fresh = fresh.ok_or_else(|| Problem::invalid("too many columns of one name"))?;
            part.notes.push(format!("column name `{name}` occurs twice: the second is called `{fresh}`"));
            seen.insert(fresh.clone());
            *name = fresh;
        }
    }
    Ok(())
}

/// One column of all files, one after the other; missing where a file does not have it. Types that differ become text.
fn together(name: &str, parts: &mut [Part]) -> Result<(ArrayRef, Option<String>), Problem> {
    let wrong = |error: arrow::error::ArrowError| Problem::invalid(error.to_string()).field(name.to_owned());
    let pieces: Vec<Option<ArrayRef>> = parts
        .iter_mut()
        .map(|part| {
            let place = part.columns.iter().position(|(column, _)| column == name)?;
            Some(part.columns.swap_remove(place).1)
        })
        .collect();
    let absent = pieces.iter().filter(|piece| piece.is_none()).count();
    let mut kinds: Vec<DataType> = pieces.iter().flatten().map(|piece| piece.data_type().clone()).collect();
    kinds.dedup();
    let kind = match kinds.as_slice() {
        [kind] => kind.clone(),
        kinds if kinds.iter().all(DataType::is_numeric) => DataType::Float64,
        _ => DataType::Utf8,
    };
    let whole = pieces
        .into_iter()
        .zip(parts.iter())
        .map(|(piece, part)| match piece {
            Some(piece) if *piece.data_type() == kind => Ok(piece),
            Some(piece) => cast(&piece, &kind),
            None => Ok(new_null_array(&kind, part.rows)),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()
        .map_err(wrong)?;
    let note = (absent > 0).then(|| format!("{absent} of {} files have no column `{name}`", parts.len()));
    if let [one] = whole.as_slice() {
        return Ok((one.clone(), note));
    }
    let borrowed: Vec<&dyn arrow::array::Array> = whole.iter().map(AsRef::as_ref).collect();
    Ok((concat(&borrowed).map_err(wrong)?, note))
}
