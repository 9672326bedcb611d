//! Places in an order of all studies, from which its index can be read on without passing over what comes before.
//!
//! A waypoint is the sort values of a study and its number. All is told in the ascending order; a descending page is
//! an ascending one turned round. Only studies up to a number, `as_of`, are looked at: the newer ones are not there yet.

use mysql_async::prelude::Queryable;
use mysql_async::{Result, Row, Value};

use super::Study;
use crate::db::matching;
use crate::dicom::query::{Direction, Sort, SortKey};

/// A study's place in an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Waypoint {
    /// As the server gave them, NULL too: one for each column that is sorted by before the number.
    values: Vec<Value>,
    study_key: u64,
}

/// The columns an order goes by before the study's number.
fn columns(by: SortKey) -> &'static [&'static str] {
    match by {
        SortKey::PatientName => &["study.patient_name_sort"],
        SortKey::PatientBirthDate => &["study.patient_birth_date"],
        SortKey::StudyDate => &["study.study_date", "study.study_time"],
        SortKey::Modality => &["study.modalities_in_study"],
        SortKey::StudyDescription => &["study.study_description"],
        SortKey::ReferringPhysicianName => &["study.referring_physician_name"],
        SortKey::AccessionNumber => &["study.accession_number"],
        SortKey::Instances => &["study.number_of_study_related_instances"],
    }
}

/// The waypoint `steps` studies behind `from`, or behind the beginning; none where there are no more.
pub async fn next(
    conn: &mut impl Queryable,
    by: SortKey,
    as_of: u64,
    from: Option<&Waypoint>,
    steps: u64,
) -> Result<Option<Waypoint>> {
    let reached = reached(by, from, as_of);
    let sql = format!(
        "SELECT {columns}, study.study_key
           FROM study FORCE INDEX ({index})
          WHERE {reached}
          ORDER BY {order}
          LIMIT 1 OFFSET ?",
        columns = columns(by).join(", "),
        index = matching::index(by),
        reached = reached.sql,
        order = ascending(by),
    );
    let mut params = reached.params;
    params.push(steps.into());
    let row: Option<Row> = conn.exec_first(sql, params).await?;
    Ok(row.and_then(|row| {
        let mut values = row.unwrap();
        let study_key = mysql_async::from_value_opt(values.pop()?).ok()?;
        Some(Waypoint { values, study_key })
    }))
}

/// How many studies there are from this waypoint, or the beginning, on. `most` are counted.
pub async fn rest(
    conn: &mut impl Queryable,
    by: SortKey,
    as_of: u64,
    from: Option<&Waypoint>,
    most: u64,
) -> Result<u64> {
    let reached = reached(by, from, as_of);
    let sql = format!(
        "SELECT COUNT(*)
           FROM (SELECT study.study_key
                   FROM study FORCE INDEX ({index})
                  WHERE {reached}
                  LIMIT ?) AS rest",
        index = matching::index(by),
        reached = reached.sql,
    );
    let mut params = reached.params;
    params.push(most.into());
    Ok(conn.exec_first(sql, params).await?.unwrap_or(0))
}

/// How many studies have numbers above `low` and up to `high`. Reads each of them.
pub async fn between(conn: &mut impl Queryable, low: u64, high: u64) -> Result<u64> {
    let counted: Option<u64> = conn
        .exec_first(
            "SELECT COUNT(*)
               FROM study FORCE INDEX (PRIMARY)
              WHERE study_key > ?
                AND study_key <= ?",
            (low, high),
        )
        .await?;
    Ok(counted.unwrap_or(0))
}

/// How many of those stand before this waypoint.
pub async fn before(
    conn: &mut impl Queryable,
    by: SortKey,
    waypoint: &Waypoint,
    low: u64,
    high: u64,
) -> Result<u64> {
    let reached = reached(by, Some(waypoint), high);
    let sql = format!(
        "SELECT COUNT(CASE WHEN {reached} THEN NULL ELSE 1 END)
           FROM study FORCE INDEX (PRIMARY)
          WHERE study.study_key > ?
            AND study.study_key <= ?",
        reached = reached.sql,
    );
    let mut params = reached.params;
    params.extend([low.into(), high.into()]);
    Ok(conn.exec_first(sql, params).await?.unwrap_or(0))
}

/// `size` studies in the ascending order, `offset` behind this waypoint, or behind the beginning.
pub async fn page(
    conn: &mut impl Queryable,
    by: SortKey,
    as_of: u64,
    from: Option<&Waypoint>,
    offset: u64,
    size: u64,
) -> Result<Vec<Study>> {
    let reached = reached(by, from, as_of);
    let sql = format!(
        concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT study.study_key
                      FROM study FORCE INDEX ({index})
                     WHERE {reached}
                     ORDER BY {order}
                     LIMIT ? OFFSET ?) AS page
              JOIN study ON study.study_key = page.study_key
             ORDER BY {order}"
        ),
        index = matching::index(by),
        reached = reached.sql,
        order = ascending(by),
    );
    let mut params = reached.params;
    params.extend([Value::from(size), Value::from(offset)]);
    conn.exec(sql, params).await
}

fn ascending(by: SortKey) -> &'static str {
    matching::order(Sort { by, direction: Direction::Ascending })
}

/// A condition and the values for its question marks.
struct Reached {
    sql: String,
    params: Vec<Value>,
}

/// Whether a study stands at the waypoint or behind it, as a row of ranges: the servers look for those in an index,
/// but not for `(a, b, c) >= (?, ?, ?)`. NULL sorts before everything.
fn reached(by: SortKey, from: Option<&Waypoint>, as_of: u64) -> Reached {
    let mut reached = Reached { sql: "study.study_key <= ?".to_owned(), params: vec![as_of.into()] };
    let Some(waypoint) = from else { return reached };
    let mut ranges = Vec::new();
    let mut same = String::new();
    let mut same_values = Vec::new();
    for (column, value) in columns(by).iter().zip(&waypoint.values) {
        let behind = match value {
            Value::NULL => format!("{same}{column} IS NOT NULL"),
            _ => format!("{same}{column} > ?"),
        };
        let values = same_values.iter().chain((*value != Value::NULL).then_some(value));
        ranges.push((behind, values.cloned().collect::<Vec<_>>()));
        same.push_str(&format!("{column} <=> ? AND "));
        same_values.push(value.clone());
    }
    same_values.push(waypoint.study_key.into());
    ranges.push((format!("{same}study.study_key >= ?"), same_values));
    let (conditions, values): (Vec<String>, Vec<Vec<Value>>) = ranges.into_iter().unzip();
    reached.sql = format!("study.study_key <= ?\n   AND (({}))", conditions.join(")\n     OR ("));
    reached.params.extend(values.into_iter().flatten());
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_value_for_each_question_mark_whatever_is_null() {
        for by in SortKey::ALL {
            for value in [Value::NULL, Value::from("x")] {
                let values = vec![value; columns(by).len()];
                let reached = reached(by, Some(&Waypoint { values, study_key: 7 }), 9);
                assert_eq!(reached.sql.matches('?').count(), reached.params.len(), "{}", reached.sql);
            }
        }
    }

    #[test]
    fn every_order_ascends_by_the_columns_of_its_waypoints() {
        for by in SortKey::ALL {
            let order = format!("{}, study.study_key", columns(by).join(", "));
            assert_eq!(ascending(by), order);
        }
    }
}
