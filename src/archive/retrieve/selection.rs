//! The instances that a retrieve is about, a stretch at a time: however large a study is, no more of it is in memory.

use super::{Holding, Place};
use crate::archive::{Archive, Error};
use crate::db::frame::{self, KindRow};
use crate::db::visibility::Visibility;
use crate::dicom::query::Query;

/// Instances that are looked up together.
const STRETCH: u64 = 2000;

/// What a retrieve is about. What arrives after it was made is no part of it.
#[derive(Debug, Clone)]
pub struct Selection {
    query: Query,
    visibility: Visibility,
    newest: u64,
    after: u64,
    /// How many instances of which SOP class, in which transfer syntax, of which study.
    pub kinds: Vec<KindRow>,
}

impl Selection {
    /// How many instances there are altogether.
    pub fn total(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.instances).sum()
    }

    /// The Study Instance UIDs of its instances.
    pub fn studies(&self) -> Vec<&str> {
        let mut studies: Vec<&str> = self.kinds.iter().map(|kind| kind.study_instance_uid.as_str()).collect();
        studies.sort_unstable();
        studies.dedup();
        studies
    }

    /// Begins again.
    pub fn rewind(&mut self) {
        self.after = 0;
    }
}

impl Archive {
    /// The instances that match.
    pub async fn select(&self, query: Query, visibility: &Visibility) -> Result<Selection, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            let newest = frame::newest(&mut conn).await?;
            let kinds = frame::kinds(&mut conn, &query, &visibility, newest).await?;
            Ok(Selection { query, visibility, newest, after: 0, kinds })
        })
        .await
    }

    /// The next of the instances, in the order they arrived; none when there are no more.
    pub async fn next_of(&self, selection: &mut Selection) -> Result<Vec<Holding>, Error> {
        let Selection { query, visibility, newest, after, .. } = selection.clone();
        let find = async move |mut conn| {
            Ok(frame::holdings(&mut conn, &query, &visibility, (after, newest), STRETCH).await?)
        };
        let rows = self.with_connection(find).await?;
        if let Some(last) = rows.last() {
            selection.after = last.holding_key;
        }
        rows.into_iter().map(|row| Holding::new(Place::Archive(row.holding_key), row)).collect()
    }
}
