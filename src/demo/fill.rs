//! Stores the synthetic studies the way a modality does: over an association.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::Local;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::ToSocketAddrs;
use tokio::sync::mpsc;

use super::exam::known;
use super::schedule::SOP_CLASSES;
use super::{Instance, count, studies};
use crate::dicom::ae_title::AeTitle;
use crate::dimse::scu::{Association, Parameters, Proposal, StoreRequest, Timeouts};

/// Who calls.
const CALLING_AE_TITLE: &str = "FILMROOM_DEMO";

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Instances the archive holds now.
    pub instances: usize,
    /// Bytes of their data sets.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64();
        let megabytes = self.bytes as f64 / 1e6;
        write!(f, "{} instances, {megabytes:.1} MB, in {seconds:.1} s", self.instances)
    }
}

/// Where there is no terminal it shows nothing.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:32!} {bar:40} {pos}/{len}");
    let bar = ProgressBar::new(count() as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Stores all studies at this AE, over one association, with a progress bar on a terminal. What the archive already
/// holds it answers with success too.
pub async fn fill(
    address: impl ToSocketAddrs + Display,
    called_ae_title: &AeTitle,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let progress = progress_bar();
    let place = address.to_string();
    let parameters = Parameters {
        calling_ae_title: CALLING_AE_TITLE.parse().context("the calling AE title")?,
        called_ae_title: called_ae_title.clone(),
        presentation_contexts: proposals(),
        tls: None,
        timeouts: Timeouts::default(),
    };
    let mut association = Association::request(address, parameters)
        .await
        .with_context(|| format!("cannot store the demo studies at {place}"))?;

    // Computing pictures is no work for a thread that others wait on; two of them wait here at most.
    let (sender, mut made) = mpsc::channel::<Instance>(2);
    let today = Local::now().date_naive();
    let maker = tokio::task::spawn_blocking(move || {
        for instance in studies(today) {
            if sender.blocking_send(instance).is_err() {
                return; // nobody waits any more
            }
        }
    });
    let mut summary = Summary { instances: 0, bytes: 0, took: Duration::ZERO };
    while let Some(instance) = made.recv().await {
        progress.set_message(instance.label.clone());
        store(&mut association, &instance).await?;
        summary.instances += 1;
        summary.bytes += instance.data_set.len() as u64;
        progress.inc(1);
    }
    maker.await.context("making the demo studies failed")?;
    association.release().await.context("everything was stored, but the association did not end well")?;
    progress.finish_and_clear();
    Ok(Summary { took: started.elapsed(), ..summary })
}

fn proposals() -> Vec<Proposal> {
    let syntax = known(dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let classes: Vec<_> = SOP_CLASSES.iter().map(|class| known(class)).collect();
    Proposal::for_instances(classes.iter().map(|class| (class, &syntax)))
}

async fn store(association: &mut Association, instance: &Instance) -> anyhow::Result<()> {
    let request = StoreRequest {
        sop_class_uid: &instance.sop_class_uid,
        sop_instance_uid: &instance.sop_instance_uid,
        transfer_syntax_uid: &instance.transfer_syntax_uid,
        move_originator: None,
    };
    let stored = association.store(&request, instance.data_set.as_slice()).await;
    let response = stored.with_context(|| format!("cannot store {}", instance.label))?;
    if !response.is_done() {
        bail!("cannot store {}: the archive answered with {response}", instance.label);
    }
    Ok(())
}
