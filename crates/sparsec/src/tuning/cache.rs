//! The database of measurements, so that nothing is timed twice.
//!
//! One `redb` file with one table: key text to outcome, both readable. It is opened for a moment to read and for a moment to
//! write, never while something is timed, so processes that tune at the same time wait for each other only briefly. A
//! file that is no database is refused and left alone: it may be something else. An entry that can't be understood counts as
//! missing, and is written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::{Timing, TuningError};

/// The only table.
const OUTCOMES: TableDefinition<'_, &str, &str> = TableDefinition::new("outcomes");

/// How often a database that another process holds is asked for, and how long after each refusal.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The format of the fastest candidate.
    pub format: String,
    /// Its schedule.
    pub schedule: Option<String>,
    /// All candidates.
    pub timings: Vec<Timing>,
}

/// Where the database is unless somebody says otherwise: in the user's folder for caches. None where there is no such folder.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(folder.join("sparsec").join("tuning.redb"))
}

/// The outcomes that the database has for these keys. None where there is no such file yet.
///
/// # Errors
/// [`TuningError::Cache`] when the file is no database, [`TuningError::Busy`] when another process holds it for long.
pub fn read<'k>(
    path: &Path,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<BTreeMap<String, Outcome>, TuningError> {
    let mut found = BTreeMap::new();
    if !path.exists() {
        return Ok(found);
    }
    guarded(path, || {
        let database = open(path)?;
        let transaction = database.begin_read().map_err(text)?;
        let table = match transaction.open_table(OUTCOMES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(text(error)),
        };
        for key in keys {
            let value = table.get(key).map_err(text)?;
            if let Some(outcome) = value.and_then(|v| unsealed(key, v.value())) {
                found.insert(key.to_owned(), outcome);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Adds outcomes; the file and its folder are made where they are missing.
///
/// # Errors
/// As [`read`], and when the file can't be written.
pub fn write(path: &Path, outcomes: &BTreeMap<String, Outcome>) -> Result<(), TuningError> {
    guarded(path, || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(text)?;
        }
        let database = open(path)?;
        let transaction = database.begin_write().map_err(text)?;
        {
            let mut table = transaction.open_table(OUTCOMES).map_err(text)?;
            for (key, outcome) in outcomes {
                let value = serde_json::to_string(outcome).map_err(text)?;
                table.insert(key.as_str(), sealed(key, &value).as_str()).map_err(text)?;
            }
        }
        transaction.commit().map_err(text)
    })
}

/// A value with a checksum of it and of its key before it: the database checks its pages only after a crash.
fn sealed(key: &str, value: &str) -> String {
    // FNV-1a (Fowler, Noll, Vo).
    let bytes = key.bytes().chain(value.bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{sum:016x} {value}")
}

fn unsealed(key: &str, stored: &str) -> Option<Outcome> {
    let (_, value) = stored.split_once(' ')?;
    let outcome = serde_json::from_str(value).ok()?;
    (sealed(key, value) == stored).then_some(outcome)
}

/// Why the database could not be used.
enum Trouble {
    /// Another process holds it.
    Busy,
    Other(String),
}

fn text(error: impl std::fmt::Display) -> Trouble {
    Trouble::Other(error.to_string())
}

/// Opens the file, waiting for other processes.
fn open(path: &Path) -> Result<Database, Trouble> {
    for _ in 0..ATTEMPTS {
        match Database::create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) => std::thread::sleep(PAUSE),
            other => return other.map_err(text),
        }
    }
    Err(Trouble::Busy)
}

/// Runs something with the database. A page that was damaged must not end the compiler, whatever its reader does.
fn guarded(path: &Path, work: impl FnOnce() -> Result<(), Trouble>) -> Result<(), TuningError> {
    let advice = "delete the file, or name another one with --tune-cache";
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let result = result.unwrap_or_else(|_| Err(Trouble::Other("it is damaged".to_owned())));
    let path = path.to_path_buf();
    result.map_err(|trouble| match trouble {
        Trouble::Busy => TuningError::Busy { path },
        Trouble::Other(message) => TuningError::Cache { path, message: format!("{message}; {advice}") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(keys: &[&str]) -> BTreeMap<String, Outcome> {
        let outcome = |key: &str| Outcome {
            format: "csr".to_owned(),
            schedule: None,
            timings: vec![Timing { format: key.to_owned(), schedule: None, us: 2.0 }],
        };
        keys.iter().map(|key| ((*key).to_owned(), outcome(key))).collect()
    }

    #[test]
    fn outcomes_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("t.redb");
        assert!(read(&path, ["a"]).expect("no file is no error").is_empty());
        write(&path, &outcomes(&["a", "b"])).expect("written");
        write(&path, &outcomes(&["c"])).expect("written");
        assert_eq!(read(&path, ["a", "c", "d"]).expect("read"), outcomes(&["a", "c"]));
    }

    #[test]
    fn a_database_that_is_held_is_busy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.redb");
        write(&path, &outcomes(&["a"])).expect("written");
        let held = Database::create(&path).expect("opened");
        assert!(matches!(read(&path, ["a"]), Err(TuningError::Busy { .. })));
        drop(held);
        assert_eq!(read(&path, ["a"]).expect("read"), outcomes(&["a"]));
    }

    #[test]
    fn damaged_databases_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.redb");
        std::fs::write(&path, "a letter to my aunt").expect("written");
        let refused = read(&path, ["a"]).expect_err("no database").to_string();
        assert!(refused.contains("t.redb` cannot be used") && refused.contains("delete the file"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "a letter to my aunt");
        std::fs::remove_file(&path).expect("removed");
        write(&path, &outcomes(&["a", "b"])).expect("written");
        let good = std::fs::read(&path).expect("read");
        // Every kind of damage ends in an error, or in what was written.
        for at in (0..good.len().min(20_000)).step_by(397) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x5a;
            std::fs::write(&path, &bytes).expect("written");
            if let Ok(found) = read(&path, ["a"]) {
                assert!(found.is_empty() || found == outcomes(&["a"]), "{at}: {found:?}");
            }
        }
        std::fs::write(&path, &good[..good.len() / 2]).expect("written");
        assert!(read(&path, ["a"]).is_err());
    }

    #[test]
    fn entries_that_are_not_understood_count_as_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.redb");
        let database = Database::create(&path).expect("made");
        let transaction = database.begin_write().expect("begun");
        transaction.open_table(OUTCOMES).expect("opened").insert("a", "of another version").expect("inserted");
        transaction.commit().expect("committed");
        drop(database);
        assert!(read(&path, ["a"]).expect("read").is_empty());
        write(&path, &outcomes(&["a"])).expect("written");
        assert_eq!(read(&path, ["a"]).expect("read"), outcomes(&["a"]));
    }
}
