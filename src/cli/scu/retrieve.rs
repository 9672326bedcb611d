//! `filmroom get` and `filmroom move`.

use std::path::Path;

use anyhow::Context;
use tokio::sync::watch;

use super::{Progress, called, did, ended, record, requestor};
use crate::archive::Archive;
use crate::cli::{WrongUsage, with_database};
use crate::codec::Decoder;
use crate::config::{Config, Settings};
use crate::db::audit::Action;
use crate::db::{self, ServeLock};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::query::remote::Identifier;
use crate::dicom::service::Service;
use crate::dicom::uid::StudyInstanceUid;
use crate::dimse::scu::{self, Called, Proposal, Receiver, Retrieved};
use crate::storage::Storage;

/// Runs `get`.
pub async fn get(
    settings: &Settings,
    peer: &str,
    studies: &[String],
    into: Option<&Path>,
) -> anyhow::Result<()> {
    let config = settings.check()?;
    let studies = uids(studies)?;
    let called = called(settings, &config, peer).await?;
    if let Some(folder) = into {
        let receiver = Receiver::folder(folder, &called)
            .with_context(|| format!("cannot use the folder {}", folder.display()))?;
        return get_each(&config, &called, &studies, receiver).await;
    }
    with_database(settings, async |pool| {
        let (archive, lock) = open(&config, pool).await?;
        let how = format!("from {} by C-GET", called.ae_title);
        let entries = studies.iter().map(|uid| did(Action::Retrieve, how.clone(), uid.as_str()));
        record(pool, entries.collect()).await?;
        let receiver = Receiver::archive(&archive, &called);
        let got = get_each(&config, &called, &studies, receiver).await;
        drop(archive);
        if let Some(lock) = lock {
            lock.release().await;
        }
        got
    })
    .await
}

/// The archive, while no server works on it.
async fn open(config: &Config, pool: &db::Pool) -> anyhow::Result<(Archive, Option<ServeLock>)> {
    let hint = "a server works on this archive: have it receive with filmroom move, or write files with --into FOLDER";
    let lock = match &config.database {
        Some(url) => Some(ServeLock::acquire(url).await.context(hint)?),
        // The private database of this folder; the folder's own lock tells whether somebody works on it.
        None => None,
    };
    let (storage, _) = Storage::open(&config.data_dir).context(hint)?;
    let decoder = Decoder::new(1, config.decode_worker.clone());
    let archive = Archive::new(pool.clone(), storage, decoder, tokio::runtime::Handle::current())?;
    Ok((archive, lock))
}

async fn get_each(
    config: &Config,
    called: &Called,
    studies: &[StudyInstanceUid],
    mut receiver: Receiver,
) -> anyhow::Result<()> {
    let mut failures = 0;
    for study in studies {
        let identifier = Identifier::study(study.as_str());
        let mut contexts = vec![Proposal::asking(identifier.sop_class(Service::Get))];
        contexts.extend(Proposal::for_retrieval(&[]));
        let bar = Progress::of(0, "receiving");
        let refused = receiver.refused;
        let retrieved = async {
            let mut association = requestor(config).associate(called, contexts).await?;
            let (_keep, mut stop) = watch::channel(false);
            let on_progress = |progress: scu::Progress| {
                bar.at(progress.done().into(), progress.total().into());
            };
            let retrieved = association.get(&identifier, &mut receiver, &mut stop, on_progress).await?;
            association.release().await?;
            Ok(retrieved)
        };
        let retrieved = retrieved.await;
        let is_told = tell(&bar, study, retrieved, called);
        if !is_told || receiver.refused > refused {
            for refusal in std::mem::take(&mut receiver.refusals) {
                bar.say(&format!("{study}: an instance was not taken: {refusal}"));
            }
            failures += 1;
        }
        bar.end();
    }
    println!("received {} instances from {}", receiver.stored, called.ae_title);
    ended(failures, "retrieve")
}

/// Runs `move`.
pub async fn have_sent(
    settings: &Settings,
    peer: &str,
    studies: &[String],
    to: Option<AeTitle>,
) -> anyhow::Result<()> {
    let config = settings.check()?;
    let studies = uids(studies)?;
    let called = called(settings, &config, peer).await?;
    let destination = to.unwrap_or_else(|| config.ae_title.clone());
    let mut failures = 0;
    for study in &studies {
        let identifier = Identifier::study(study.as_str());
        let contexts = vec![Proposal::asking(identifier.sop_class(Service::Move))];
        let bar = Progress::of(0, "being sent");
        let retrieved = async {
            let mut association = requestor(&config).associate(&called, contexts).await?;
            let (_keep, mut stop) = watch::channel(false);
            let on_progress = |progress: scu::Progress| {
                bar.at(progress.done().into(), progress.total().into());
            };
            let retrieved =
                association.retrieve_to(&destination, &identifier, &mut stop, on_progress).await?;
            association.release().await?;
            Ok(retrieved)
        };
        if !tell(&bar, study, retrieved.await, &called) {
            failures += 1;
        }
        bar.end();
    }
    ended(failures, "retrieve")
}

/// Says how a retrieve ended; whether it ended well.
fn tell(
    bar: &Progress,
    study: &StudyInstanceUid,
    retrieved: Result<Retrieved, scu::Error>,
    called: &Called,
) -> bool {
    let Retrieved { response, progress } = match retrieved {
        Ok(retrieved) => retrieved,
        Err(err) => {
            bar.say(&format!("{study}: {err}"));
            return false;
        }
    };
    let failed = progress.failed;
    match response.is_done() && failed == 0 {
        true if progress.total() == 0 => {
            bar.say(&format!("{study}: {} has no such study", called.ae_title));
            false
        }
        true => {
            bar.end();
            println!("{study}: {} instances", progress.done());
            true
        }
        false if failed > 0 => {
            let total = progress.total();
            bar.say(&format!("{study}: {failed} of {total} instances did not come: {}", response.in_words()));
            false
        }
        false => {
            bar.say(&format!("{study}: {}", response.in_words()));
            false
        }
    }
}

fn uids(studies: &[String]) -> anyhow::Result<Vec<StudyInstanceUid>> {
    let parse = |text: &String| {
        text.parse::<StudyInstanceUid>()
            .map_err(|err| WrongUsage(format!("{text:?} is no Study Instance UID: {err}")).into())
    };
    studies.iter().map(parse).collect()
}
