//! `filmroom find`: what another archive has, as a table or as lines of JSON.

use std::time::Duration;

use anyhow::bail;
use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use tokio::time::Instant;

use super::{called, requestor};
use crate::cli::WrongUsage;
use crate::config::Settings;
use crate::dicom::data_set::DataSet;
use crate::dicom::dictionary;
use crate::dicom::query::Level;
use crate::dicom::query::remote::Identifier;
use crate::dicom::service::Service;
use crate::dimse::scu::{FindLimits, Found, Proposal};

/// How long an archive gets for all of its answers.
const PATIENCE: Duration = Duration::from_secs(300);
/// Columns are cut at this many characters.
const WIDEST: usize = 40;

/// What is shown of each level where nothing is asked for.
fn usual(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => &[
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::PATIENT_BIRTH_DATE,
            tags::PATIENT_SEX,
            tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
        ],
        Level::Study => &[
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::STUDY_DATE,
            tags::MODALITIES_IN_STUDY,
            tags::STUDY_DESCRIPTION,
            tags::ACCESSION_NUMBER,
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
        ],
        Level::Series => &[
            tags::SERIES_NUMBER,
            tags::MODALITY,
            tags::SERIES_DESCRIPTION,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
        ],
        Level::Image => &[tags::INSTANCE_NUMBER, tags::SOP_CLASS_UID],
    }
}

/// Runs it.
pub async fn run(
    settings: &Settings,
    peer: &str,
    level: Level,
    most: usize,
    json: bool,
    keys: &[String],
) -> anyhow::Result<()> {
    let config = settings.check()?;
    let mut identifier = Identifier::new(level);
    let mut columns = Vec::new();
    for key in keys {
        let (name, value) = key.split_once('=').unwrap_or((key, ""));
        let tag = tag(name).ok_or_else(|| WrongUsage(format!("{name:?} is no attribute of DICOM")))?;
        identifier = match value {
            "" => identifier.returning(tag),
            value => identifier.matching(tag, value),
        };
        columns.push(tag);
    }
    for &tag in usual(level) {
        identifier = identifier.returning(tag);
        if !columns.contains(&tag) {
            columns.push(tag);
        }
    }
    let unique = level.unique_key().tag();
    columns.retain(|tag| *tag != unique);
    columns.push(unique);
    let called = called(settings, &config, peer).await?;
    let contexts = vec![Proposal::asking(identifier.sop_class(Service::Find))];
    let mut association = requestor(&config).associate(&called, contexts).await?;
    let limits = FindLimits { matches: most.max(1), until: Instant::now() + PATIENCE };
    let mut answers: Vec<DataSet> = Vec::new();
    let found = association.find(&identifier, limits, |answer| match json {
        true => println!("{}", as_json(&answer, &columns)),
        false => answers.push(answer),
    });
    let found = found.await?;
    if !json {
        print_table(&answers, &columns);
    }
    match found {
        Found::All => association.release().await?,
        Found::Enough => {
            association.release().await?;
            eprintln!("filmroom: there may be more than these {most}: narrow the search, or give --most");
        }
        Found::Late => bail!("{} did not come to an end within {} s", called.ae_title, PATIENCE.as_secs()),
        Found::Refused(response) => bail!("{} did not answer: {}", called.ae_title, response.in_words()),
    }
    Ok(())
}

/// By keyword, or as (gggg,eeee) without the parentheses.
fn tag(name: &str) -> Option<Tag> {
    if let Some((group, element)) = name.split_once(',') {
        return Some(Tag(u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?));
    }
    StandardDataDictionary.by_name(name).map(|entry| entry.tag())
}

fn keyword(tag: Tag) -> String {
    dictionary::keyword(tag).map_or_else(|| tag.to_string(), str::to_owned)
}

/// Values of an attribute in one line. What would move the cursor or hide something is left out.
fn text(answer: &DataSet, tag: Tag) -> String {
    let text = answer.texts(tag).join("\\");
    text.chars().filter(|c| !c.is_control()).collect()
}

fn as_json(answer: &DataSet, columns: &[Tag]) -> serde_json::Value {
    columns.iter().map(|tag| (keyword(*tag), text(answer, *tag))).collect()
}

fn print_table(answers: &[DataSet], columns: &[Tag]) {
    if answers.is_empty() {
        println!("nothing matches");
        return;
    }
    let cut = |text: String, column: usize| match column + 1 == columns.len() {
        true => text,
        false => text.chars().take(WIDEST).collect(),
    };
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|tag| keyword(*tag)).collect()];
    for answer in answers {
        rows.push(columns.iter().enumerate().map(|(at, tag)| cut(text(answer, *tag), at)).collect());
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}
