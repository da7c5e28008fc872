//! Who leads: of the replicas that share a database, exactly one writes.
//!
//! A row says who, and until when by the database's own clock. Each time another one takes the lead its **term** rises.
//! A commit locks the row and is refused unless its writer knows the term, so one that was stopped, cut off or too slow
//! changes nothing when it comes back. On SQLite the lock on the folder is the lease, and it never ends.

use crate::Store;
use crate::database::{Either, Transaction, problem};
use serde::Serialize;
use std::sync::atomic::Ordering;
use steersman_domain::{ErrorKind, Problem};

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leader {
    /// Name of the replica.
    pub replica: String,
    /// Where its pages and API are.
    pub address: String,
    /// How often the lead had been taken when it was.
    pub term: u64,
}

impl Store {
    /// Whether other processes may use it at the same time.
    pub fn shared(&self) -> bool {
        matches!(self.inner.pool, Either::Postgres(_))
    }

    /// Takes the lead if nobody has it, and says in which term.
    pub async fn take_lead(&self, replica: &str, address: &str) -> Result<Option<u64>, Problem> {
        let Either::Postgres(pool) = &self.inner.pool else { return Ok(Some(0)) };
        let term: Option<i64> = sqlx::query_scalar(
            "UPDATE leader_lease
             SET holder = $1, address = $2, term = term + 1, expires = clock_timestamp() + $3 * INTERVAL '1 second'
             WHERE id = 1 AND expires <= clock_timestamp()
             RETURNING term",
        )
        .bind(replica.to_owned())
        .bind(address.to_owned())
        .bind(self.inner.lease.as_secs_f64())
        .fetch_optional(pool)
        .await
        .map_err(problem)?;
        self.inner.term.store(term.unwrap_or(0), Ordering::SeqCst);
        Ok(term.map(i64::cast_unsigned))
    }

    /// Leads for another length of the lease. Returns whether it still leads.
    pub async fn keep_lead(&self) -> Result<bool, Problem> {
        let Either::Postgres(pool) = &self.inner.pool else { return Ok(true) };
        let kept = sqlx::query(
            "UPDATE leader_lease SET expires = clock_timestamp() + $2 * INTERVAL '1 second' WHERE id = 1 AND term = $1",
        )
        .bind(self.inner.term.load(Ordering::SeqCst))
        .bind(self.inner.lease.as_secs_f64())
        .execute(pool)
        .await
        .map_err(problem)?;
        Ok(kept.rows_affected() == 1)
    }

    /// Stops leading, so that another one may at once.
    pub async fn give_up_lead(&self) -> Result<(), Problem> {
        let Either::Postgres(pool) = &self.inner.pool else { return Ok(()) };
        let term = self.inner.term.swap(0, Ordering::SeqCst);
        if term > 0 {
            sqlx::query("UPDATE leader_lease SET expires = '-infinity' WHERE id = 1 AND term = $1")
                .bind(term)
                .execute(pool)
                .await
                .map_err(problem)?;
        }
        Ok(())
    }

    /// Who leads now, by the database's clock; on SQLite nobody is asked.
    pub async fn leader(&self) -> Result<Option<Leader>, Problem> {
        let Either::Postgres(pool) = &self.inner.pool else { return Ok(None) };
        let row: Option<(String, String, i64)> = sqlx::query_as(
            "SELECT holder, address, term FROM leader_lease WHERE id = 1 AND expires > clock_timestamp()",
        )
        .fetch_optional(pool)
        .await
        .map_err(problem)?;
        Ok(row.map(|(replica, address, term)| Leader { replica, address, term: term.cast_unsigned() }))
    }

    /// Lets one commit at a time through, and only those of the leader.
    pub(crate) async fn fence(&self, transaction: &mut Transaction) -> Result<(), Problem> {
        let Either::Postgres(transaction) = transaction else { return Ok(()) };
        let term: i64 = sqlx::query_scalar("SELECT term FROM leader_lease WHERE id = 1 FOR UPDATE")
            .fetch_one(&mut **transaction)
            .await
            .map_err(problem)?;
        if term > 0 && term == self.inner.term.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Problem::new(ErrorKind::Unavailable, "this replica does not lead; nothing was written")
            .hint("ask the one that leads: `GET /readyz` says which"))
    }
}
