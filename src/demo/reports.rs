//! What is not a picture: a report as PDF (PS3.3 A.45.1) and one as a structured document (PS3.3 A.35.1).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::Instance;
use super::data_set::DataSet;
use super::exam::{Exam, Series};

fn series(number: u32, modality: &'static str, description: &'static str) -> Series {
    Series { number, modality, description, body_part: "", protocol: "", laterality: "", after: 25 }
}

/// The lines as a PDF of one page.
pub fn pdf(exam: &Exam, title: &str, lines: &[&str]) -> Instance {
    let mut draft = exam.instance(&series(90, "DOC", "Report"), uids::ENCAPSULATED_PDF_STORAGE, 1);
    draft
        .text(tags::ACQUISITION_DATE_TIME, "")
        .text(tags::CONVERSION_TYPE, "WSD")
        .text(tags::BURNED_IN_ANNOTATION, "YES")
        .text(tags::DOCUMENT_TITLE, title)
        .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "application/pdf");
    let document = page(title, lines);
    draft.data_set.number(tags::ENCAPSULATED_DOCUMENT_LENGTH, document.len() as f64);
    draft.data_set.code(tags::CONCEPT_NAME_CODE_SEQUENCE, "18748-4", "LN", "Diagnostic imaging report");
    draft.data_set.bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, document);
    draft.finish()
}

/// PDF 1.4 (ISO 32000) by hand: a page, a font every reader has, and text.
fn page(title: &str, lines: &[&str]) -> Vec<u8> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    let mut text = format!("BT /F1 18 Tf 64 770 Td ({}) Tj /F1 11 Tf 0 -34 Td 16 TL\n", escape(title));
    for line in lines {
        text.push_str(&format!("({}) Tj T*\n", escape(line)));
    }
    text.push_str("ET\n0.6 w 64 756 m 531 756 l S\n");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{text}endstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", at + 1));
    }
    let table = file.len();
    file.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1));
    for place in &places {
        file.push_str(&format!("{place:010} 00000 n \n"));
    }
    let count = places.len() + 1;
    file.push_str(&format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n"));
    file.into_bytes()
}

/// A report in sections: each a code and its meaning in LOINC, and what it says.
pub fn structured(exam: &Exam, sections: &[(&str, &str, &str)]) -> Instance {
    let mut draft = exam.instance(&series(91, "SR", "Report"), uids::BASIC_TEXT_SR_STORAGE, 1);
    draft
        .text(tags::VALUE_TYPE, "CONTAINER")
        .text(tags::CONTINUITY_OF_CONTENT, "SEPARATE")
        .text(tags::COMPLETION_FLAG, "COMPLETE")
        .text(tags::VERIFICATION_FLAG, "VERIFIED");
    let data_set = &mut draft.data_set;
    let mut observer = data_set.item();
    observer
        .text(tags::VERIFYING_ORGANIZATION, "Harbour Street Imaging")
        .text(tags::VERIFICATION_DATE_TIME, &exam.date.format("%Y%m%d120000").to_string())
        .text(tags::VERIFYING_OBSERVER_NAME, "Okafor^Chidi^^Dr")
        .sequence(tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE, Vec::new());
    let mut content = Vec::new();
    for (code, meaning, text) in sections {
        let mut section = item(data_set, "CONTAINER", code, meaning);
        let mut said = item(data_set, "TEXT", "121071", "Finding");
        said.text(tags::TEXT_VALUE, text);
        section.text(tags::CONTINUITY_OF_CONTENT, "SEPARATE").sequence(tags::CONTENT_SEQUENCE, vec![said]);
        content.push(section);
    }
    data_set
        .sequence(tags::VERIFYING_OBSERVER_SEQUENCE, vec![observer])
        .sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new())
        .sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new())
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, "18748-4", "LN", "Diagnostic imaging report")
        .sequence(tags::CONTENT_SEQUENCE, content);
    draft.finish()
}

fn item(parent: &DataSet, value_type: &str, code: &str, meaning: &str) -> DataSet {
    let scheme = if code.contains('-') { "LN" } else { "DCM" };
    let mut item = parent.item();
    item.text(tags::RELATIONSHIP_TYPE, "CONTAINS").text(tags::VALUE_TYPE, value_type).code(
        tags::CONCEPT_NAME_CODE_SEQUENCE,
        code,
        scheme,
        meaning,
    );
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cross_reference_table_of_the_pdf_points_at_its_objects() {
        let file = page("Title (1)", &["one", "two"]);
        let text = String::from_utf8(file).expect("ASCII");
        let table = text.rfind("\nxref\n").map(|at| at + 1).expect("a table");
        assert!(text.contains(&format!("startxref\n{table}\n")));
        let entries = text.get(table..).expect("within").lines().skip(3).take(5);
        for (number, entry) in entries.enumerate() {
            let place: usize = entry.get(..10).and_then(|digits| digits.parse().ok()).expect("ten digits");
            let object = format!("{} 0 obj", number + 1);
            assert!(text.get(place..).is_some_and(|rest| rest.starts_with(&object)), "{object}");
        }
        assert!(text.contains("(Title \\(1\\)) Tj"));
    }
}
