//! `filmroom send`: studies of the archive, read from their files, or files from anywhere.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Progress, called, did, ended, record, requestor};
use crate::archive::retrieve::outgoing::{self, Outgoing};
use crate::cli::{WrongUsage, with_database};
use crate::codec::Decoder;
use crate::config::{Config, Settings};
use crate::db;
use crate::db::audit::{Action, Entry};
use crate::dicom::uid::StudyInstanceUid;
use crate::dimse::scu::Called;
use crate::dimse::scu::send::{Outcome, kind, parted, send};

/// Runs it.
pub async fn run(settings: &Settings, peer: &str, what: &[String]) -> anyhow::Result<()> {
    let config = settings.check()?;
    let (paths, uids): (Vec<&String>, Vec<&String>) = what.iter().partition(|what| Path::new(what).exists());
    let studies: Vec<StudyInstanceUid> = uids
        .iter()
        .map(|text| {
            let wrong =
                |err| WrongUsage(format!("{text:?} is neither a file nor a Study Instance UID: {err}"));
            text.parse().map_err(|err| wrong(err).into())
        })
        .collect::<anyhow::Result<_>>()?;
    let called = called(settings, &config, peer).await?;
    let decoder = Decoder::new(1, config.decode_worker.clone());
    let mut failures = 0;
    let mut instances = Vec::new();
    for path in paths {
        for file in files_in(Path::new(path))? {
            match Outgoing::of_file(&file, &decoder) {
                Ok(instance) => instances.push(instance),
                Err(err) => {
                    eprintln!("filmroom: {err}");
                    failures += 1;
                }
            }
        }
    }
    if !studies.is_empty() {
        let (found, missing) = of_archive(settings, &config, &called, &studies, &decoder).await?;
        instances.extend(found);
        failures += missing;
    }
    failures += send_all(&config, &called, &instances).await?;
    ended(failures, "instance")
}

/// The instances of studies, each of which leaves its row in the audit trail; how many studies are not there.
async fn of_archive(
    settings: &Settings,
    config: &Config,
    called: &Called,
    studies: &[StudyInstanceUid],
    decoder: &Decoder,
) -> anyhow::Result<(Vec<Outgoing>, usize)> {
    let (found, missing) = (RefCell::new(Vec::new()), Cell::new(0));
    with_database(settings, async |pool| {
        let mut conn = db::acquire(pool).await?;
        let mut entries: Vec<Entry> = Vec::new();
        for study in studies {
            let instances = outgoing::of_study(&mut conn, &config.data_dir, study, decoder).await?;
            if instances.is_empty() {
                eprintln!("filmroom: {study} is not in the archive");
                missing.set(missing.get() + 1);
                continue;
            }
            let details = format!("{} instances to {}", instances.len(), called.ae_title);
            entries.push(did(Action::Send, details, study.as_str()));
            found.borrow_mut().extend(instances);
        }
        drop(conn);
        record(pool, entries).await
    })
    .await?;
    Ok((found.into_inner(), missing.get()))
}

/// Sends them, over as many associations as that takes; how many were not taken.
async fn send_all(config: &Config, called: &Called, instances: &[Outgoing]) -> anyhow::Result<usize> {
    let bar = Progress::of(u64::try_from(instances.len()).unwrap_or(u64::MAX), "sending");
    let (mut sent, mut settled) = (0, 0);
    let mut trouble = None;
    for (group, contexts) in parted(instances.iter().map(kind).collect()) {
        let mut association = match requestor(config).associate(called, contexts).await {
            Ok(association) => association,
            Err(err) => {
                trouble = Some(err.to_string());
                break;
            }
        };
        let of_group = instances.iter().filter(|instance| group.contains(&kind(instance)));
        let on_each = async |instance: &Outgoing, outcome: Outcome| {
            let uid = &instance.sop_instance_uid;
            settled += 1;
            match outcome {
                Outcome::Sent(response) => {
                    sent += 1;
                    if response.status != 0 {
                        bar.say(&format!("{uid}: {}", response.in_words()));
                    }
                }
                Outcome::Refused(response) | Outcome::Later(response) => {
                    bar.say(&format!("{uid}: {}", response.in_words()));
                }
                Outcome::Unsendable(why) => bar.say(&format!("{uid}: {why}")),
                Outcome::Broken(err) => {
                    trouble = Some(err.to_string());
                }
            }
            bar.step();
            ControlFlow::Continue(())
        };
        send(&mut association, of_group, None, on_each).await;
        if trouble.is_some() {
            break;
        }
        association.release().await?;
    }
    bar.end();
    if let Some(trouble) = trouble {
        eprintln!("filmroom: {trouble}; {} instances were not tried", instances.len() - settled);
    }
    println!("sent {sent} of {} instances to {}", instances.len(), called.ae_title);
    Ok(instances.len() - sent)
}

/// A file, or all files below a folder, by name.
fn files_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(files_in(&entry)?);
    }
    Ok(files)
}
