//! A bucket of a server that speaks S3, with copies of what is read in a bounded local folder.
//!
//! The requests run on a thread of their own; whoever asks waits, so this may be called from anywhere.

use super::storage::{Held, remove_file, walk};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use steersman_domain::{ErrorKind, Problem};
use tokio::runtime::Runtime;

/// Where a bucket is. What is not said is taken from the environment (`AWS_ACCESS_KEY_ID` and so on) or from the
/// machine that it runs on.
#[derive(Clone, Default)]
pub struct BucketOptions {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with.
    pub prefix: String,
    /// URL of the server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Whether the server may be reached without TLS.
    pub allow_http: bool,
    /// Key id and secret.
    pub credentials: Option<(String, String)>,
    /// The folder of copies.
    pub cache: PathBuf,
    /// So many bytes of copies are kept, beside those that are being read.
    pub cache_bytes: u64,
}

impl std::fmt::Debug for BucketOptions {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// An open bucket.
#[derive(Debug)]
pub struct Bucket {
    options: BucketOptions,
    store: Arc<AmazonS3>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    copies: Mutex<Copies>,
    /// Held by the one who fetches.
    fetching: Mutex<()>,
}

#[derive(Debug, Default)]
struct Copies {
    by_name: BTreeMap<String, Copy>,
    bytes: u64,
    /// Counts uses.
    uses: u64,
}

#[derive(Debug)]
struct Copy {
    bytes: u64,
    used: u64,
    /// Others hold it too while it is read.
    pin: Arc<()>,
}

impl Bucket {
    pub(super) fn open(options: BucketOptions) -> Result<Self, Problem> {
        let client = ClientOptions::new()
            .with_timeout(Duration::from_secs(30))
            .with_connect_timeout(Duration::from_secs(5));
        let retry =
            RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&options.bucket)
            .with_client_options(client.with_allow_http(options.allow_http))
            .with_retry(retry);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some((id, secret)) = &options.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|error| {
            Problem::invalid(format!("the bucket cannot be used: {error}")).field("records.location")
        })?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("bucket").enable_all().build();
        let runtime = runtime.map_err(|error| Problem::internal(format!("no thread: {error}")))?;
        let mut copies = Copies::default();
        let cache = &options.cache;
        std::fs::create_dir_all(cache).map_err(|error| Problem::io("make the folder", cache, &error))?;
        let mut unfinished = Vec::new();
        walk(cache, &mut |path, _| {
            let bytes = std::fs::metadata(path).map_or(0, |about| about.len());
            match path.strip_prefix(cache) {
                Ok(name) if path.extension().is_some_and(|extension| extension == "parquet") => {
                    copies.insert(&name.to_string_lossy(), bytes);
                }
                _ => unfinished.push(path.to_owned()),
            }
        })?;
        unfinished.iter().try_for_each(|path| remove_file(path))?;
        let (store, runtime, copies) = (Arc::new(store), Some(runtime), Mutex::new(copies));
        let bucket = Self { options, store, runtime, copies, fetching: Mutex::new(()) };
        bucket.evict()?;
        Ok(bucket)
    }

    fn key(&self, name: &str) -> Key {
        Key::from_iter(self.options.prefix.split('/').chain(name.split('/')).filter(|part| !part.is_empty()))
    }

    /// Waits for a request.
    fn wait<T: Send + 'static>(
        &self,
        what: &str,
        name: &str,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, Problem> {
        let (tell, told) = sync_channel(1);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let _ = tell.send(request.await);
            });
        }
        let result = told.recv().map_err(|_| Problem::internal("the bucket is closed"))?;
        result.map_err(|error| {
            let kind = match &error {
                object_store::Error::NotFound { .. } => ErrorKind::NotFound,
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => ErrorKind::Forbidden,
                _ => ErrorKind::Unavailable,
            };
            Problem::new(kind, format!("cannot {what} `{name}` in `{:?}`: {error}", self.options))
                .hint("see `[records]` in the configuration: endpoint, region, credentials")
        })
    }

    /// Where the copy of a file lies.
    pub(super) fn copy(&self, name: &str) -> PathBuf {
        self.options.cache.join(name)
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, draft: &Path, name: &str) -> Result<(), Problem> {
        let bytes = std::fs::read(draft).map_err(|error| Problem::io("read", draft, &error))?;
        let (store, key, length) = (self.store.clone(), self.key(name), bytes.len() as u64);
        self.wait("write", name, async move { store.put(&key, PutPayload::from(bytes)).await })?;
        // What was written is read soon.
        let copy = self.copy(name);
        std::fs::rename(draft, &copy).map_err(|error| Problem::io("rename", draft, &error))?;
        self.copies().insert(name, length);
        self.evict()
    }

    pub(super) fn get(&self, name: &str) -> Result<Held, Problem> {
        let path = self.copy(name);
        if let Some(pin) = self.copies().touch(name) {
            return Ok(Held { path, _pin: Some(pin) });
        }
        let _fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pin) = self.copies().touch(name) {
            return Ok(Held { path, _pin: Some(pin) });
        }
        let (store, key) = (self.store.clone(), self.key(name));
        let bytes = self.wait("read", name, async move { store.get(&key).await?.bytes().await })?;
        let (partial, dir) =
            (path.with_added_extension("partial"), path.parent().unwrap_or(&self.options.cache));
        let write = std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(&partial, &bytes))
            .and_then(|()| std::fs::rename(&partial, &path));
        write.map_err(|error| Problem::io("write", &partial, &error))?;
        let pin = self.copies().insert(name, bytes.len() as u64);
        self.evict()?;
        Ok(Held { path, _pin: Some(pin) })
    }

    pub(super) fn remove(&self, names: &[String]) -> Result<(), Problem> {
        for name in names {
            let (store, key) = (self.store.clone(), self.key(name));
            match self.wait("remove", name, async move { store.delete(&key).await }) {
                Err(problem) if problem.kind != ErrorKind::NotFound => return Err(problem),
                _ => self.forget_copy(name)?,
            }
        }
        Ok(())
    }

    fn forget_copy(&self, name: &str) -> Result<(), Problem> {
        let mut copies = self.copies();
        copies.take(name);
        remove_file(&self.copy(name))
    }

    pub(super) fn forget_copies(&self, folder: &str, named: &dyn Fn(&str) -> bool) -> Result<(), Problem> {
        let unnamed: Vec<String> = {
            let copies = self.copies();
            let below = copies.by_name.iter().filter(|(name, _)| name.starts_with(folder) && !named(name));
            // One that is being read goes next time.
            below
                .filter(|(_, copy)| Arc::strong_count(&copy.pin) == 1)
                .map(|(name, _)| name.clone())
                .collect()
        };
        unnamed.iter().try_for_each(|name| self.forget_copy(name))
    }

    /// Removes the copies that were used longest ago, until few enough are left. Nobody may fetch one of them anew
    /// meanwhile, so they are removed under the lock.
    fn evict(&self) -> Result<(), Problem> {
        let mut copies = self.copies();
        while copies.bytes > self.options.cache_bytes {
            let free = copies.by_name.iter().filter(|(_, copy)| Arc::strong_count(&copy.pin) == 1);
            let Some(name) = free.min_by_key(|(_, copy)| copy.used).map(|(name, _)| name.clone()) else {
                break;
            };
            copies.take(&name);
            remove_file(&self.copy(&name))?;
        }
        Ok(())
    }

    pub(super) fn older(&self, folder: &str, before: SystemTime) -> Result<Vec<String>, Problem> {
        let before = before.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (store, key) = (self.store.clone(), self.key(folder));
        let objects = self.wait("list", folder, async move {
            let (mut folders, mut objects) = (vec![key], Vec::new());
            while let Some(folder) = folders.pop() {
                let found = store.list_with_delimiter(Some(&folder)).await?;
                folders.extend(found.common_prefixes);
                objects.extend(found.objects);
            }
            Ok(objects)
        })?;
        let root = self.key("").to_string();
        let old =
            objects.into_iter().filter(|object| object.last_modified.timestamp() < before.cast_signed());
        let name = |object: object_store::ObjectMeta| {
            let key = object.location.to_string();
            key.strip_prefix(&root).map(|name| name.trim_start_matches('/').to_owned())
        };
        Ok(old.filter_map(name).collect())
    }
}

impl Copies {
    /// A copy that is there now; it stays until what this returns is dropped.
    fn insert(&mut self, name: &str, bytes: u64) -> Arc<()> {
        self.take(name);
        self.uses += 1;
        self.bytes += bytes;
        let copy = Copy { bytes, used: self.uses, pin: Arc::new(()) };
        let pin = copy.pin.clone();
        self.by_name.insert(name.to_owned(), copy);
        pin
    }

    fn touch(&mut self, name: &str) -> Option<Arc<()>> {
        self.uses += 1;
        let copy = self.by_name.get_mut(name)?;
        copy.used = self.uses;
        Some(copy.pin.clone())
    }

    fn take(&mut self, name: &str) {
        if let Some(copy) = self.by_name.remove(name) {
            self.bytes -= copy.bytes;
        }
    }
}

impl Drop for Bucket {
    /// Whoever drops it may be in an asynchronous task, where nobody may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
