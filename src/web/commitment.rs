//! What the page of a study says of peers that were asked whether they have stored it safely, PS3.4 annex J.

use super::text;
use crate::db::commitment::StoredAt;

/// What one peer has said of a study.
pub struct Kept {
    /// `Safely stored at PEER since 2026-11-27 14:05`
    pub sentence: String,
    /// What somebody should look after, if there is anything.
    pub warning: Option<String>,
}

impl Kept {
    /// Whether somebody should look after it.
    pub fn warns(&self) -> bool {
        self.warning.is_some()
    }
}

/// What each peer has said of a study of so many instances.
pub fn kept(stored_at: &[StoredAt], instances: u64) -> Vec<Kept> {
    stored_at.iter().map(|one| of_peer(one, instances)).collect()
}

fn of_peer(one: &StoredAt, instances: u64) -> Kept {
    let peer = &one.ae_title;
    let sentence = match one.since {
        Some(since) if one.committed >= instances => {
            format!("Safely stored at {peer} since {}", text::date_time(since))
        }
        _ => {
            let is = if one.committed == 1 { "is" } else { "are" };
            let images = if instances == 1 { "image" } else { "images" };
            format!(
                "{} of {} {images} {is} safely stored at {peer}",
                text::thousands(one.committed),
                text::thousands(instances)
            )
        }
    };
    match warning(one) {
        Some(warning) => Kept { sentence: format!("{sentence}."), warning: Some(warning) },
        None => Kept { sentence, warning: None },
    }
}

fn warning(one: &StoredAt) -> Option<String> {
    let peer = &one.ae_title;
    if one.failed > 0 {
        let images = text::counted(one.failed, "image", "images");
        return Some(format!("{peer} says that it has not stored {images} safely: send the study again."));
    }
    if one.given_up > 0 {
        let images = text::counted(one.given_up, "image", "images");
        return Some(format!("{peer} did not say whether it has stored {images} safely. {}", one.last_error));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(committed: u64, failed: u64, given_up: u64) -> StoredAt {
        StoredAt {
            ae_title: "CLINIC".to_owned(),
            committed,
            failed,
            open: 0,
            given_up,
            since: (committed > 0).then(Default::default),
            last_error: "The peer was asked and never reported".to_owned(),
        }
    }

    #[test]
    fn all_some_and_none_have_their_sentences() {
        let sentence = |committed, instances| of_peer(&stored(committed, 0, 0), instances).sentence;
        assert_eq!(sentence(3, 3), "Safely stored at CLINIC since 1970-01-01 00:00");
        assert_eq!(sentence(12, 200), "12 of 200 images are safely stored at CLINIC");
        assert_eq!(sentence(1, 200), "1 of 200 images is safely stored at CLINIC");
        assert_eq!(sentence(0, 1), "0 of 1 image are safely stored at CLINIC");
    }

    #[test]
    fn what_a_peer_has_not_is_a_warning_and_what_is_open_is_none() {
        let warning = |committed, failed, given_up| of_peer(&stored(committed, failed, given_up), 3).warning;
        assert_eq!(warning(2, 0, 0), None);
        assert!(warning(2, 1, 0).is_some_and(|text| text.contains("not stored 1 image safely")));
        assert!(warning(2, 0, 1).is_some_and(|text| text.contains("never reported")));
    }
}
