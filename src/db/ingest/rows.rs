//! The statements that write rows: a study, a series, the instances of a batch, and what they add to the counts.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value, params};

use super::place::{Added, Contents, Patient};
use super::{NewInstance, in_sizes};
use crate::db::Error;

pub(super) async fn insert_study(
    conn: &mut impl Queryable,
    patient: &Patient,
    new: &NewInstance,
    added: &Added,
    contents: &Contents,
) -> Result<u64, Error> {
    let person = &new.attributes.patient;
    let study = &new.attributes.study;
    let differs = patient.name_folded != study.patient_name_folded
        || patient.birth_date != person.patient_birth_date
        || patient.sex != person.patient_sex;
    let received_at = new.received_at.naive_utc();
    let columns: Vec<(&str, Value)> = vec![
        ("patient_key", patient.patient_key.into()),
        ("study_instance_uid", study.study_instance_uid.as_str().into()),
        ("patient_id", person.patient_id.as_str().into()),
        ("issuer_of_patient_id", person.issuer_of_patient_id.as_str().into()),
        ("patient_name", person.patient_name.as_str().into()),
        ("patient_name_folded", study.patient_name_folded.as_str().into()),
        ("patient_name_sort", study.patient_name_sort.as_str().into()),
        ("patient_birth_date", person.patient_birth_date.into()),
        ("patient_birth_time", study.patient_birth_time.into()),
        ("patient_sex", person.patient_sex.as_str().into()),
        ("patient_age", study.patient_age.as_str().into()),
        ("patient_size", study.patient_size.into()),
        ("patient_weight", study.patient_weight.into()),
        ("patient_comments", study.patient_comments.as_str().into()),
        ("study_date", study.study_date.into()),
        ("study_time", study.study_time.into()),
        ("study_id", study.study_id.as_str().into()),
        ("accession_number", study.accession_number.as_str().into()),
        ("study_description", study.study_description.as_str().into()),
        ("referring_physician_name", study.referring_physician_name.as_str().into()),
        ("referring_physician_name_folded", study.referring_physician_name_folded.as_str().into()),
        ("physicians_of_record", study.physicians_of_record.as_str().into()),
        ("name_of_physicians_reading_study", study.name_of_physicians_reading_study.as_str().into()),
        ("admitting_diagnoses_description", study.admitting_diagnoses_description.as_str().into()),
        ("institution_name", study.institution_name.as_str().into()),
        ("modalities_in_study", contents.modalities().into()),
        ("sop_classes_in_study", contents.sop_classes().into()),
        ("number_of_study_related_series", added.series.into()),
        ("number_of_study_related_instances", added.instances.into()),
        ("size_bytes", added.bytes.into()),
        ("demographics_differ", differs.into()),
        ("received_at", received_at.into()),
        ("changed_at", added.received_at.into()),
    ];
    insert(conn, "study", columns).await
}

pub(super) async fn insert_series(
    conn: &mut impl Queryable,
    study_key: u64,
    equipment_key: u64,
    new: &NewInstance,
    added: &Added,
) -> Result<u64, Error> {
    let series = &new.attributes.series;
    let received_at = new.received_at.naive_utc();
    let columns: Vec<(&str, Value)> = vec![
        ("study_key", study_key.into()),
        ("equipment_key", equipment_key.into()),
        ("series_instance_uid", series.series_instance_uid.as_str().into()),
        ("modality", series.modality.as_str().into()),
        ("series_number", series.series_number.into()),
        ("series_description", series.series_description.as_str().into()),
        ("series_date", series.series_date.into()),
        ("series_time", series.series_time.into()),
        ("body_part_examined", series.body_part_examined.as_str().into()),
        ("protocol_name", series.protocol_name.as_str().into()),
        ("laterality", series.laterality.as_str().into()),
        ("patient_position", series.patient_position.as_str().into()),
        ("performing_physician_name", series.performing_physician_name.as_str().into()),
        ("operators_name", series.operators_name.as_str().into()),
        ("frame_of_reference_uid", series.frame_of_reference_uid.as_str().into()),
        ("performed_procedure_step_start_date", series.performed_procedure_step_start_date.into()),
        ("performed_procedure_step_start_time", series.performed_procedure_step_start_time.into()),
        ("performed_procedure_step_id", series.performed_procedure_step_id.as_str().into()),
        ("requested_procedure_id", series.requested_procedure_id.as_str().into()),
        ("scheduled_procedure_step_id", series.scheduled_procedure_step_id.as_str().into()),
        ("number_of_series_related_instances", added.instances.into()),
        ("size_bytes", added.bytes.into()),
        ("received_at", received_at.into()),
        ("changed_at", added.received_at.into()),
    ];
    insert(conn, "series", columns).await
}

/// Inserts one row; table and column names are literals of this file.
pub(super) async fn insert(
    conn: &mut impl Queryable,
    table: &'static str,
    columns: Vec<(&'static str, Value)>,
) -> Result<u64, Error> {
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(", "));
    let result = conn.exec_iter(sql, Params::Positional(values)).await?;
    let key = inserted(result.last_insert_id())?;
    result.drop_result().await?;
    Ok(key)
}

pub(super) fn inserted(last_insert_id: Option<u64>) -> Result<u64, Error> {
    last_insert_id.ok_or_else(|| Error::Sql(mysql_async::Error::Other("an insert gave no key".into())))
}

const INSTANCE_COLUMNS: usize = 31;

pub(super) async fn insert_instances(
    conn: &mut impl Queryable,
    rows: &[(u64, &NewInstance)],
) -> Result<(), Error> {
    for (size, rows) in in_sizes(rows) {
        let row = format!("({})", vec!["?"; INSTANCE_COLUMNS].join(", "));
        let sql = format!(
            "INSERT INTO instance (
                 series_key, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number,
                 content_date, content_time, acquisition_date, acquisition_time, acquisition_number,
                 image_type, `rows`, `columns`, number_of_frames, bits_allocated,
                 photometric_interpretation, slice_thickness, slice_location, slice_position, completion_flag,
                 verification_flag, document_title, path, size_bytes, data_set_offset,
                 data_set_sha256, pixel_data_offset, pixel_data_length, source_ae_title, source_address,
                 received_at)
             VALUES {}",
            vec![row.as_str(); size].join(", ")
        );
        let mut values = Vec::with_capacity(size * INSTANCE_COLUMNS);
        for (series_key, new) in rows {
            instance_values(&mut values, *series_key, new);
        }
        conn.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

fn instance_values(values: &mut Vec<Value>, series_key: u64, new: &NewInstance) {
    let instance = &new.attributes.instance;
    values.extend::<[Value; INSTANCE_COLUMNS]>([
        series_key.into(),
        instance.sop_instance_uid.as_str().into(),
        instance.sop_class_uid.as_str().into(),
        new.transfer_syntax_uid.as_str().into(),
        instance.instance_number.into(),
        instance.content_date.into(),
        instance.content_time.into(),
        instance.acquisition_date.into(),
        instance.acquisition_time.into(),
        instance.acquisition_number.into(),
        instance.image_type.as_str().into(),
        instance.rows.into(),
        instance.columns.into(),
        instance.number_of_frames.into(),
        instance.bits_allocated.into(),
        instance.photometric_interpretation.as_str().into(),
        instance.slice_thickness.into(),
        instance.slice_location.into(),
        instance.slice_position.into(),
        instance.completion_flag.as_str().into(),
        instance.verification_flag.as_str().into(),
        instance.document_title.as_str().into(),
        new.path.as_str().into(),
        new.size_bytes.into(),
        new.data_set_offset.into(),
        Value::from(&new.data_set_sha256[..]),
        new.pixel_data_offset.into(),
        new.pixel_data_length.into(),
        new.source_ae_title.as_str().into(),
        new.source_address.as_str().into(),
        new.received_at.naive_utc().into(),
    ]);
}

/// The frame index of a long cine is some 100 KB, so these go one by one.
pub(super) async fn insert_frame_indexes(
    conn: &mut impl Queryable,
    rows: &[(u64, &NewInstance)],
) -> Result<(), Error> {
    for (_, new) in rows {
        if let Some(frame_index) = &new.frame_index {
            conn.exec_drop(
                "INSERT INTO frame_index (instance_key, fragments)
                 SELECT instance_key, ?
                   FROM instance
                  WHERE sop_instance_uid = ?",
                (frame_index, new.attributes.instance.sop_instance_uid.as_str()),
            )
            .await?;
        }
    }
    Ok(())
}

/// What the counts of a series, and of the study it belongs to, grow by. No two of a batch are of one study.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) series_key: u64,
    pub(super) series: Added,
    pub(super) study: Added,
}

/// The most counts of one statement.
const COUNTS: usize = 16;

/// Adds to the counts of series and their studies, all of them at once.
pub(super) async fn add_counts(conn: &mut impl Queryable, counts: &[Counts]) -> Result<(), Error> {
    for counts in counts.chunks(COUNTS) {
        // Few sizes, so few statements to prepare: what is over names no series.
        let size = counts.len().next_power_of_two();
        let case = format!("CASE series.series_key{} ELSE 0 END", " WHEN ? THEN ?".repeat(size));
        let latest = format!(
            "CASE series.series_key{} ELSE series.changed_at END",
            " WHEN ? THEN CAST(? AS DATETIME(6))".repeat(size)
        );
        let sql = format!(
            "UPDATE series
               JOIN study ON study.study_key = series.study_key
                SET series.number_of_series_related_instances = series.number_of_series_related_instances + {case},
                    series.size_bytes = series.size_bytes + {case},
                    series.changed_at = GREATEST(series.changed_at, {latest}),
                    study.number_of_study_related_series = study.number_of_study_related_series + {case},
                    study.number_of_study_related_instances = study.number_of_study_related_instances + {case},
                    study.size_bytes = study.size_bytes + {case},
                    study.changed_at = GREATEST(study.changed_at, {latest})
              WHERE series.series_key IN ({})",
            vec!["?"; size].join(", ")
        );
        let columns: [fn(&Counts) -> Value; 7] = [
            |counts| counts.series.instances.into(),
            |counts| counts.series.bytes.into(),
            |counts| counts.series.received_at.into(),
            |counts| counts.study.series.into(),
            |counts| counts.study.instances.into(),
            |counts| counts.study.bytes.into(),
            |counts| counts.study.received_at.into(),
        ];
        let mut values = Vec::with_capacity(size * (2 * columns.len() + 1));
        for column in columns {
            let known = counts.iter().flat_map(|counts| [counts.series_key.into(), column(counts)]);
            let none = [Value::from(0_u64), Value::NULL].into_iter().cycle().take(2 * (size - counts.len()));
            values.extend(known.chain(none));
        }
        let keys = counts.iter().map(|counts| Value::from(counts.series_key));
        values.extend(keys.chain(std::iter::repeat_n(Value::from(0_u64), size - counts.len())));
        conn.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

/// Adds to the counts of a series.
pub(super) async fn update_series(
    conn: &mut impl Queryable,
    series_key: u64,
    added: &Added,
) -> Result<(), Error> {
    conn.exec_drop(
        "UPDATE series
            SET number_of_series_related_instances = number_of_series_related_instances + :instances,
                size_bytes = size_bytes + :bytes,
                changed_at = GREATEST(changed_at, :received_at)
          WHERE series_key = :series_key",
        params! {
            "instances" => added.instances,
            "bytes" => added.bytes,
            "received_at" => added.received_at,
            "series_key" => series_key,
        },
    )
    .await?;
    Ok(())
}

/// Adds to the counts of a study.
pub(super) async fn update_study(
    conn: &mut impl Queryable,
    study_key: u64,
    added: &Added,
) -> Result<(), Error> {
    conn.exec_drop(
        "UPDATE study
            SET number_of_study_related_series = number_of_study_related_series + :series,
                number_of_study_related_instances = number_of_study_related_instances + :instances,
                size_bytes = size_bytes + :bytes,
                changed_at = GREATEST(changed_at, :received_at)
          WHERE study_key = :study_key",
        params! {
            "series" => added.series,
            "instances" => added.instances,
            "bytes" => added.bytes,
            "received_at" => added.received_at,
            "study_key" => study_key,
        },
    )
    .await?;
    Ok(())
}

/// Writes ModalitiesInStudy and SOPClassesInStudy of a study.
pub(super) async fn update_contents(
    conn: &mut impl Queryable,
    study_key: u64,
    contents: &Contents,
) -> Result<(), Error> {
    conn.exec_drop(
        "UPDATE study
            SET modalities_in_study = :modalities,
                sop_classes_in_study = :sop_classes
          WHERE study_key = :study_key",
        params! {
            "modalities" => contents.modalities(),
            "sop_classes" => contents.sop_classes(),
            "study_key" => study_key,
        },
    )
    .await?;
    Ok(())
}
