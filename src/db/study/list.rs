//! The study list: what matches a query, counted and read a page at a time.
//!
//! Rows of `study` are wide and their indexes narrow, so which studies are on a page is found out in an index, and
//! only those are read.

use mysql_async::prelude::Queryable;
use mysql_async::{Result, Value, params};

use super::Study;
use crate::db::matching;
use crate::db::visibility::Visibility;
use crate::dicom::query::{Query, Sort};

/// The newest study by our own number; 0 where there is none.
pub async fn newest(conn: &mut impl Queryable) -> Result<u64> {
    let newest: Option<Option<u64>> = conn.query_first("SELECT MAX(study_key) FROM study").await?;
    Ok(newest.flatten().unwrap_or(0))
}

/// The newest of the studies that are visible.
pub async fn newest_visible(conn: &mut impl Queryable, visibility: &Visibility) -> Result<u64> {
    if *visibility == Visibility::All {
        return newest(conn).await;
    }
    let visible = visibility.of_many();
    let sql = format!("SELECT MAX(study.study_key) FROM study WHERE {}", visible.sql);
    let newest: Option<Option<u64>> = conn.exec_first(sql, visible.params).await?;
    Ok(newest.flatten().unwrap_or(0))
}

/// How many studies match. Passes over each study, or over the index of what is asked.
pub async fn count(conn: &mut impl Queryable, query: &Query, visibility: &Visibility) -> Result<u64> {
    let conditions = matching::conditions(query, visibility);
    let sql = format!(
        "SELECT COUNT(*)
           FROM study
          WHERE {}",
        conditions.sql()
    );
    Ok(conn.exec_first(sql, conditions.params()).await?.unwrap_or(0))
}

/// The numbers of the studies that match, in no order, and of no more than `limit` of them.
pub async fn matching_keys(
    conn: &mut impl Queryable,
    query: &Query,
    visibility: &Visibility,
    limit: u64,
) -> Result<Vec<u64>> {
    let conditions = matching::conditions(query, visibility);
    let sql = format!(
        "SELECT study.study_key
           FROM study
          WHERE {}
          LIMIT ?",
        conditions.sql()
    );
    let mut params = conditions.params();
    params.push(Value::from(limit));
    conn.exec(sql, params).await
}

/// `size` of the studies with these numbers in this order, from number `offset` on, which is counted from 0.
pub async fn of_keys(
    conn: &mut impl Queryable,
    keys: &[u64],
    sort: Sort,
    offset: u64,
    size: u64,
) -> Result<Vec<Study>> {
    // The numbers go as one value, so that the statement is the same for one and for ten thousand.
    let keys = keys.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let sql = format!(
        concat!(
            "SELECT STRAIGHT_JOIN ",
            columns!(),
            " FROM JSON_TABLE(:keys, '$[*]' COLUMNS (study_key BIGINT UNSIGNED PATH '$')) AS found
              JOIN study ON study.study_key = found.study_key
             ORDER BY {}
             LIMIT :size OFFSET :offset"
        ),
        matching::order(sort),
    );
    conn.exec(sql, params! { "keys" => format!("[{keys}]"), "size" => size, "offset" => offset }).await
}

/// `size` of the studies that match in the query's order, from number `offset` on, which is counted from 0. Passes
/// over those before.
pub async fn find(
    conn: &mut impl Queryable,
    query: &Query,
    visibility: &Visibility,
    offset: u64,
    size: u64,
) -> Result<Vec<Study>> {
    let conditions = matching::conditions(query, visibility);
    let order = matching::order(query.sort);
    let sql = format!(
        concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT study.study_key
                      FROM study {index}
                     WHERE {conditions}
                     ORDER BY {order}
                     LIMIT ? OFFSET ?) AS page
              JOIN study ON study.study_key = page.study_key
             ORDER BY {order}"
        ),
        index = match query.matches_everything() && *visibility == Visibility::All {
            true => format!("FORCE INDEX ({})", matching::index(query.sort.by)),
            false => String::new(),
        },
        conditions = conditions.sql(),
        order = order,
    );
    let mut params = conditions.params();
    params.extend([Value::from(size), Value::from(offset)]);
    conn.exec(sql, params).await
}
