//! How a deployment is set up: `steersman.toml`, checked key by key like a model's spec.
//!
//! ```toml
//! [store]
//! database = "postgres://steersman@db.example.org/steersman"
//! password_file = "/run/secrets/postgres"
//! key_file = "/run/secrets/ledger.key"
//! ```

use crate::problem::Problem;
use crate::spec::from_toml;
use crate::time::Period;
use core::net::SocketAddr;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The configuration of a server. Relative paths start from the file's folder.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The folder of this process: its lock, its write-ahead log, what its model servers print; by default all else too.
    #[schemars(with = "String")]
    pub dir: PathBuf,
    /// Specs to apply when this process takes the lead.
    #[schemars(with = "Vec<String>")]
    pub apply: Vec<PathBuf>,
    /// Where it listens, and how often it looks.
    pub server: ServerSection,
    /// Where the ledger lasts.
    pub store: StoreSection,
    /// Where records last.
    pub records: RecordsSection,
    /// Where references, snapshots and trained versions last.
    pub artifacts: ArtifactsSection,
    /// How much telemetry may be on its way at once.
    pub ingest: IngestSection,
    /// What queries may take.
    pub query: QuerySection,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            dir: "steersman-data".into(),
            apply: Vec::new(),
            server: ServerSection::default(),
            store: StoreSection::default(),
            records: RecordsSection::default(),
            artifacts: ArtifactsSection::default(),
            ingest: IngestSection::default(),
            query: QuerySection::default(),
        }
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// Name of this replica in pages and in the ledger; by default the machine's.
    pub name: Option<String>,
    /// Where pages and API listen.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where the gateway listens.
    #[schemars(with = "String")]
    pub gateway_listen: SocketAddr,
    /// The address of this replica that the others send people to; by default `http://` and where it listens.
    pub address: Option<String>,
    /// How often the loop turns.
    #[schemars(with = "String")]
    pub every: Period,
    /// After how long without a judge the gateway takes a candidate's traffic away.
    #[schemars(with = "String")]
    pub dead_man: Period,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            name: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            gateway_listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            address: None,
            every: Period::from_seconds(1),
            dead_man: Period::from_seconds(30),
        }
    }
}

/// `[ingest]`; sizes in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IngestSection {
    /// The largest body, packed and unpacked; 1 to 1024.
    pub largest_body: u32,
    /// Bodies under way in the process; beyond that senders are told to come again.
    pub in_flight: u32,
    /// Bodies under way for one model.
    pub in_flight_per_model: u32,
}

impl Default for IngestSection {
    fn default() -> Self {
        Self { largest_body: 64, in_flight: 512, in_flight_per_model: 256 }
    }
}

/// `[query]`; sizes in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuerySection {
    /// Rows of an answer, where the query asks for no other number.
    pub rows: u32,
    /// The most rows that can be asked for.
    pub most_rows: u32,
    /// An answer.
    pub answer: u32,
    /// What all running queries may hold together for sorting, grouping and joining.
    pub memory: u32,
    /// How long a query may run.
    #[schemars(with = "String")]
    pub time: Period,
    /// Threads that queries run on; 1 to 256.
    pub threads: u32,
    /// Queries at once; 1 to 1000.
    pub at_once: u32,
}

impl Default for QuerySection {
    fn default() -> Self {
        Self {
            rows: 10_000,
            most_rows: 1_000_000,
            answer: 256,
            memory: 512,
            time: Period::from_seconds(60),
            threads: 2,
            at_once: 4,
        }
    }
}

impl QuerySection {
    fn check(&self) -> Result<(), Problem> {
        let least = |name: &str, value: u32, least: u32, most: u32| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Problem::invalid(format!("{value} is not between {least} and {most}"))
                .field(format!("query.{name}"))),
        };
        least("rows", self.rows, 1, self.most_rows.max(1))?;
        least("most_rows", self.most_rows, 1, u32::MAX - 1)?;
        least("answer", self.answer, 1, 1 << 20)?;
        least("memory", self.memory, 1, 1 << 20)?;
        least("threads", self.threads, 1, 256)?;
        least("at_once", self.at_once, 1, 1_000)
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// `sqlite`, a file in `dir`, or `postgres://user@host:5432/database`, which several replicas may share. The
    /// password is best given in `password_file` or the environment variable `PGPASSWORD`.
    #[schemars(with = "String")]
    pub database: Database,
    /// A file that holds the password alone.
    #[schemars(with = "Option<String>")]
    pub password_file: Option<PathBuf>,
    /// The file with the key that signs the ledger, the same for all replicas; made once, by default in `dir`.
    #[schemars(with = "Option<String>")]
    pub key_file: Option<PathBuf>,
    /// On Postgres: after how long without a sign of life another replica takes the lead; at least `2s`.
    #[schemars(with = "String")]
    pub lease: Period,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            database: Database::Sqlite,
            password_file: None,
            key_file: None,
            lease: Period::from_seconds(10),
        }
    }
}

/// Which database. Whoever prints it sees no password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Database {
    /// A file in the platform's folder.
    Sqlite,
    /// A server, by its URL.
    Postgres(String),
}

/// What the URL may say beside user, host and database. An unknown word could be a misspelt password.
const PARAMETERS: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "application_name",
    "options",
    "connect_timeout",
];

impl TryFrom<String> for Database {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        // The text is not repeated: it may hold a password.
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(Problem::invalid("not a database")
                .hint("write `sqlite` or `postgres://user@host:5432/database`"));
        }
        let query = text.split_once('?').map_or("", |(_, query)| query);
        for name in query.split('&').filter(|part| !part.is_empty()).map(|part| part.split('=').next()) {
            if !name.is_some_and(|name| PARAMETERS.contains(&name)) {
                return Err(Problem::invalid("the URL holds an unknown parameter")
                    .hint(format!("known are {}", PARAMETERS.join(", "))));
            }
        }
        Ok(Self::Postgres(text))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("sqlite"),
            Self::Postgres(_) => f.write_str("postgres"),
        }
    }
}

/// `[records]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordsSection {
    /// A folder, or `s3://bucket/prefix`, for segments; by default the folder `records` in `dir`. The write-ahead log is
    /// always there.
    #[schemars(with = "Option<String>")]
    pub location: Option<Location>,
    /// For a bucket: the URL of the server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// For a bucket: its region.
    pub region: Option<String>,
    /// For a bucket: whether the server may be reached without TLS.
    pub allow_http: bool,
    /// For a bucket: the id of the key; by default what the environment or the machine's role says.
    pub access_key_id: Option<String>,
    /// For a bucket: a file that holds the secret key alone.
    #[schemars(with = "Option<String>")]
    pub secret_access_key_file: Option<PathBuf>,
    /// For a bucket: so many MiB of copies are kept in `dir`.
    pub cache: u32,
    /// Records and labels that are older go, unless the model's spec says otherwise; by default they stay.
    #[schemars(with = "Option<String>")]
    pub retention: Option<Period>,
    /// The file with the secret that personal values are hashed with, the same for all replicas; made when it is needed
    /// first, by default `keys/personal.key` in `dir`.
    #[schemars(with = "Option<String>")]
    pub personal_key_file: Option<PathBuf>,
    /// So many MiB of memory the ids of segments may take, all models together; beyond that they are looked for on the
    /// disk, which takes longer.
    pub id_memory: u32,
}

impl Default for RecordsSection {
    fn default() -> Self {
        Self {
            location: None,
            endpoint: None,
            region: None,
            allow_http: false,
            access_key_id: None,
            secret_access_key_file: None,
            cache: 4_096,
            retention: None,
            personal_key_file: None,
            id_memory: 256,
        }
    }
}

/// A folder, or a place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// What begins with `prefix` in a bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// Without a slash at either end; may be empty.
        prefix: String,
    },
}

impl TryFrom<String> for Location {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        let Some(rest) = text.strip_prefix("s3://") else {
            if let Some(path) = text.strip_prefix("file://").filter(|path| path.starts_with('/')) {
                return Ok(Self::Folder(path.into()));
            }
            if let Some((scheme, _)) = text.split_once("://") {
                return Err(Problem::invalid(format!("`{scheme}://` is not read"))
                    .hint("write a folder or `s3://bucket/prefix`"));
            }
            if text.is_empty() {
                return Err(Problem::invalid("empty").hint("write a folder or `s3://bucket/prefix`"));
            }
            return Ok(Self::Folder(text.into()));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let named = (3..=63).contains(&bucket.len()) && bucket.chars().all(inner);
        if !(named && end(bucket.chars().next()) && end(bucket.chars().next_back())) {
            return Err(Problem::invalid(format!("`{bucket}` is not the name of a bucket"))
                .hint("3 to 63 lower-case letters, digits, dots and dashes"));
        }
        if prefix.split('/').any(|part| part == ".." || part == ".") || prefix.chars().any(char::is_control) {
            return Err(Problem::invalid("the prefix holds `.`, `..` or control characters"));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// `[artifacts]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactsSection {
    /// A folder; where several replicas share a database, one that all of them reach. By default `models` in `dir`.
    #[schemars(with = "Option<String>")]
    pub location: Option<PathBuf>,
}

impl ServerConfig {
    /// Reads the text of a configuration that lies in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Problem> {
        let mut config: Self = from_toml(text)?;
        if config.store.lease.seconds() < 2 {
            return Err(Problem::invalid("shorter than 2s")
                .field("store.lease")
                .hint("`10s` is the default"));
        }
        if config.records.access_key_id.is_some() != config.records.secret_access_key_file.is_some() {
            return Err(Problem::invalid("`access_key_id` and `secret_access_key_file` belong together")
                .field("records.access_key_id")
                .hint("give both, or neither and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        config.query.check()?;
        config.dir = folder.join(&config.dir);
        config.apply = config.apply.iter().map(|spec| folder.join(spec)).collect();
        for path in [
            &mut config.store.password_file,
            &mut config.store.key_file,
            &mut config.artifacts.location,
            &mut config.records.secret_access_key_file,
            &mut config.records.personal_key_file,
        ] {
            *path = path.take().map(|path| folder.join(path));
        }
        if let Some(Location::Folder(path)) = &mut config.records.location {
            *path = folder.join(&*path);
        }
        Ok(config)
    }

    /// The JSON Schema of the file, for editors.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(ServerConfig).to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerConfig, String> {
        ServerConfig::parse(text, Path::new("/etc/steersman")).map_err(|problem| problem.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_and_paths_start_from_the_file() {
        let config = parse("").unwrap();
        assert_eq!(config.dir, Path::new("/etc/steersman/steersman-data"));
        assert_eq!(config.store, StoreSection::default());
        let config =
            parse("[store]\nkey_file='k'\n[records]\nlocation='r'\n[artifacts]\nlocation='/a'").unwrap();
        assert_eq!(config.store.key_file.unwrap(), Path::new("/etc/steersman/k"));
        assert_eq!(config.records.location, Some(Location::Folder("/etc/steersman/r".into())));
        assert_eq!(config.artifacts.location.unwrap(), Path::new("/a"));
    }

    #[test]
    fn refusals_name_the_key_and_the_line_but_no_password() {
        let refusal = |text: &str| parse(text).unwrap_err();
        assert!(
            refusal("[server]\nlisten='127.0.0.1:1'\nport=7")
                .starts_with("server.port (line 3): unknown field")
        );
        assert!(refusal("[server]\nlisten='here'").starts_with("server.listen (line 2)"));
        assert!(refusal("[store]\nlease='1s'").starts_with("store.lease: shorter than 2s"));
        assert!(refusal("[query]\nthreads=0").starts_with("query.threads: 0 is not between 1 and 256"));
        assert!(refusal("[query]\nmost_rows=5").starts_with("query.rows: 10000 is not between 1 and 5"));
        let wrong = refusal("[store]\ndatabase='postgre://ada:geheim@db/x'");
        assert!(
            wrong.starts_with("store.database (line 2): not a database") && !wrong.contains("geheim"),
            "{wrong}"
        );
        let wrong = refusal("[store]\ndatabase='postgres://db/x?pasword=geheim'");
        assert!(wrong.contains("unknown parameter") && !wrong.contains("geheim"), "{wrong}");
        let config = parse("[store]\ndatabase='postgres://ada:geheim@db/x'").unwrap();
        assert!(!format!("{config:?}").contains("geheim"));
    }

    #[test]
    fn a_location_is_a_folder_or_a_bucket() {
        let location =
            |text: &str| Location::try_from(text.to_owned()).map_err(|problem| problem.to_string());
        let bucket = |bucket: &str, prefix: &str| {
            Ok(Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(location("s3://team.models/a/b/"), bucket("team.models", "a/b"));
        assert_eq!(location("s3://team"), bucket("team", ""));
        assert!(location("s3://Team/x").unwrap_err().contains("not the name of a bucket"));
        assert!(location("s3://team/../x").unwrap_err().contains("`..`"));
        assert!(location("gs://team/x").unwrap_err().contains("`gs://` is not read"));
    }
}
