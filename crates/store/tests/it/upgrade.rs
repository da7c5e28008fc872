//! Databases of released versions are brought up to date: nothing is lost, and they end like an empty one.
//!
//! `tests/data/N.DATABASE.sql` is a dump of one as version N of the migrations left it, with the key of its ledger.

use crate::place::{Place, both, private, started};
use sqlx::{AssertSqlSafe, Connection as _};
use steersman_domain::config::Database;

both!(a_database_of_the_first_version_goes_on);

async fn a_database_of_the_first_version_goes_on(place: Place) {
    let kind = format!("{:?}", place.section.database);
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::create_dir(place.dir.path().join("keys")).unwrap();
    std::fs::copy(data.join(format!("1.{kind}.key")), place.key()).unwrap();
    private(&place.key());
    place.raw(&std::fs::read_to_string(data.join(format!("1.{kind}.sql"))).unwrap()).await;
    let store = place.open().await;
    let model = "churn".parse().unwrap();
    assert_eq!(store.windows(&model, jiff::Timestamp::UNIX_EPOCH).await.unwrap()[0].rows, 24);
    assert_eq!(store.monitor_states(&model).await.unwrap()[0].state, "{\"evidence\":1.5}");
    assert_eq!(store.commit(jiff::Timestamp::UNIX_EPOCH, started(1)).await.unwrap()[0].seq, 6);
    assert_eq!(place.verify().await.unwrap(), 7);
    let empty = match place.section.database {
        Database::Sqlite => Place::sqlite(),
        Database::Postgres(_) => Place::postgres().await.unwrap(),
    };
    empty.open().await.close().await;
    assert_eq!(shape(&place).await, shape(&empty).await);
}

/// Tables and their columns, in words.
async fn shape(place: &Place) -> Vec<String> {
    match &place.section.database {
        Database::Sqlite => {
            let file = format!("sqlite:{}", place.dir.path().join("steersman.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
            let sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '_sqlx%' ORDER BY name";
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
        Database::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let mut shape = Vec::new();
            for sql in [
                "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, collation_name, column_default)
                 FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1",
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE connamespace = current_schema()::regnamespace ORDER BY 1",
            ] {
                let sql = AssertSqlSafe(sql.to_owned());
                shape.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut connection).await.unwrap());
            }
            shape
        }
    }
}
