//! What a series without images is, and what one can do with it.

use crate::db::frame::StackRow;
use crate::dicom::sop_class::{self, Kind};

/// Documents listed for a series.
const DOCUMENTS: usize = 50;

/// A series without images.
pub(super) struct DocumentCard {
    pub(super) what: String,
    pub(super) title: Option<String>,
    pub(super) sentence: &'static str,
    pub(super) documents: Vec<DocumentLine>,
    pub(super) more: usize,
}

/// One of its instances.
pub(super) struct DocumentLine {
    pub(super) title: String,
    pub(super) instance: String,
    pub(super) open: &'static str,
    pub(super) document_href: Option<String>,
    pub(super) format: &'static str,
}

/// The card of a series of these instances.
pub(super) fn document_card(stack: &[StackRow]) -> DocumentCard {
    let kind_of = |row: &StackRow| row.sop_class_uid.parse().map_or(Kind::Other, |uid| sop_class::kind(&uid));
    let kind = stack.first().map_or(Kind::Other, kind_of);
    let sentence = match kind {
        Kind::Report => "A report is text, not pictures. Open it to read it.",
        Kind::Pdf | Kind::Cda | Kind::Model => {
            "This is a file inside a DICOM instance. Download it to open it."
        }
        Kind::KeyObjects => "A list of images somebody marked. Its page names them.",
        Kind::PresentationState => "It says how images are to be shown, and has no pixels of its own.",
        Kind::Waveform | Kind::Ecg => "Curves over time, such as an ECG. They cannot be drawn here yet.",
        _ => "It has no pixels to show. All its attributes can be read, and it can be downloaded.",
    };
    let documents = stack.iter().take(DOCUMENTS).enumerate().map(|(index, row)| {
        let number = row.instance_number.map_or_else(|| (index + 1).to_string(), |number| number.to_string());
        let label = kind_of(row).label();
        let encapsulated = encapsulated_format(&row.sop_class_uid);
        DocumentLine {
            title: if row.document_title.is_empty() {
                format!("{label} {number}")
            } else {
                row.document_title.clone()
            },
            instance: row.sop_instance_uid.clone(),
            open: if kind_of(row) == Kind::Report { "Read it" } else { "All attributes" },
            document_href: encapsulated.map(|_| format!("/instances/{}/document", row.sop_instance_uid)),
            format: encapsulated.unwrap_or_default(),
        }
    });
    DocumentCard {
        what: kind.label().to_owned(),
        title: stack
            .first()
            .map(|row| row.document_title.clone())
            .filter(|title| !title.is_empty() && stack.len() == 1),
        sentence,
        documents: documents.collect(),
        more: stack.len().saturating_sub(DOCUMENTS),
    }
}

/// What an encapsulated document is, by its SOP Class.
fn encapsulated_format(sop_class: &str) -> Option<&'static str> {
    match sop_class.strip_prefix("1.2.840.10008.5.1.4.1.1.104.")? {
        "1" => Some("PDF"),
        "2" => Some("CDA"),
        "3" => Some("STL"),
        "4" => Some("OBJ"),
        "5" => Some("MTL"),
        _ => Some("document"),
    }
}
