//! Instances made for tests: small, valid, and different where a test says so.

use std::io::Write;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;
use sha2::{Digest, Sha256};

/// A data set with what a Part 10 file needs to say of it.
#[derive(Debug, Clone)]
pub struct Instance {
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub transfer_syntax_uid: String,
    pub data_set: Vec<u8>,
}

/// Makes instances. Everything not set is that of one CT slice.
#[derive(Debug, Clone)]
pub struct Builder {
    object: InMemDicomObject,
    side: u16,
}

/// A CT slice of 16 by 16 pixels, of a study, series and patient that [`slice`] calls with equal numbers share.
pub fn slice(patient: u32, study: u32, series: u32, instance: u32) -> Builder {
    let mut builder = Builder { object: InMemDicomObject::new_empty(), side: 16 };
    for (tag, vr, value) in [
        (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.to_owned()),
        (tags::SOP_INSTANCE_UID, VR::UI, format!("1.2.3.{study}.{series}.{instance}")),
        (tags::STUDY_DATE, VR::DA, "20261122".into()),
        (tags::STUDY_TIME, VR::TM, "101500".into()),
        (tags::ACCESSION_NUMBER, VR::SH, format!("ACC{study}")),
        (tags::MODALITY, VR::CS, "CT".into()),
        (tags::MANUFACTURER, VR::LO, "Acme".into()),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "House^Gregory".into()),
        (tags::STUDY_DESCRIPTION, VR::LO, "Head".into()),
        (tags::PATIENT_NAME, VR::PN, format!("Doe^Jane{patient}")),
        (tags::PATIENT_ID, VR::LO, format!("P{patient}")),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19700101".into()),
        (tags::PATIENT_SEX, VR::CS, "F".into()),
        (tags::STUDY_INSTANCE_UID, VR::UI, format!("1.2.3.{study}")),
        (tags::SERIES_INSTANCE_UID, VR::UI, format!("1.2.3.{study}.{series}")),
        (tags::STUDY_ID, VR::SH, "1".into()),
        (tags::SERIES_NUMBER, VR::IS, series.to_string()),
        (tags::INSTANCE_NUMBER, VR::IS, instance.to_string()),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into()),
        (tags::WINDOW_CENTER, VR::DS, "128".into()),
        (tags::WINDOW_WIDTH, VR::DS, "256".into()),
    ] {
        builder = builder.text(tag, vr, &value);
    }
    builder
}

impl Builder {
    /// Sets a text.
    pub fn text(mut self, tag: Tag, vr: VR, value: &str) -> Builder {
        self.object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        self
    }

    /// Takes an element away.
    pub fn without(mut self, tag: Tag) -> Builder {
        self.object.remove_element(tag);
        self
    }

    /// Sets an element to bytes.
    pub fn bytes(mut self, tag: Tag, vr: VR, value: Vec<u8>) -> Builder {
        self.object.put(DataElement::new(tag, vr, PrimitiveValue::U8(value.into())));
        self
    }

    /// Sets a sequence of one item with these texts.
    pub fn item(mut self, tag: Tag, texts: &[(Tag, VR, &str)]) -> Builder {
        let mut item = InMemDicomObject::new_empty();
        for (tag, vr, value) in texts {
            item.put(DataElement::new(*tag, *vr, PrimitiveValue::from(*value)));
        }
        self.object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item])));
        self
    }

    /// Sets a US element.
    pub fn words(mut self, tag: Tag, value: u16) -> Builder {
        self.object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        self
    }

    /// Makes the picture this many pixels wide and high.
    pub fn side(mut self, side: u16) -> Builder {
        self.side = side;
        self
    }

    /// The instance, Explicit VR Little Endian.
    pub fn build(mut self) -> Instance {
        let side = self.side;
        let pixels: Vec<u8> = (0..u32::from(side) * u32::from(side))
            .map(|n| u8::try_from(n % 251).expect("below 251"))
            .collect();
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, side),
            (tags::COLUMNS, side),
            (tags::BITS_ALLOCATED, 8),
            (tags::BITS_STORED, 8),
            (tags::HIGH_BIT, 7),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            if self.object.element_opt(tag).expect("a look").is_none() {
                self.object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
            }
        }
        if self.object.element_opt(tags::PIXEL_DATA).expect("a look").is_none() {
            self.object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
        }
        let text = |tag| {
            let element = self.object.element_opt(tag).expect("a look");
            element.map(|element| element.to_str().expect("text").trim_end_matches('\0').to_owned())
        };
        let sop_class_uid = text(tags::SOP_CLASS_UID).unwrap_or_else(|| uids::CT_IMAGE_STORAGE.into());
        let sop_instance_uid = text(tags::SOP_INSTANCE_UID).unwrap_or_else(|| "1.2.3".into());
        let mut data_set = Vec::new();
        let explicit = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
        self.object.write_dataset_with_ts(&mut data_set, &explicit).expect("a data set that encodes");
        Instance {
            sop_class_uid,
            sop_instance_uid,
            transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
            data_set,
        }
    }
}

impl Instance {
    /// The same without its data set.
    pub fn clone_head(&self) -> Instance {
        Instance {
            sop_class_uid: self.sop_class_uid.clone(),
            sop_instance_uid: self.sop_instance_uid.clone(),
            transfer_syntax_uid: self.transfer_syntax_uid.clone(),
            data_set: Vec::new(),
        }
    }

    /// SHA-256 of the data set.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.data_set).into()
    }

    /// A Part 10 file of it, removed when dropped.
    pub fn file(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".dcm").tempfile().expect("a temporary file");
        file.write_all(&self.part10()).expect("a file that takes it");
        file
    }

    /// The bytes of that file.
    pub fn part10(&self) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(&self.sop_class_uid)
            .media_storage_sop_instance_uid(&self.sop_instance_uid)
            .transfer_syntax(&self.transfer_syntax_uid)
            .build()
            .expect("a file meta group")
            .write(&mut bytes)
            .expect("bytes");
        bytes.extend_from_slice(&self.data_set);
        bytes
    }
}

/// The data set of a Part 10 file: what stands behind the elements of group 0002, whatever its length says.
pub fn data_set_of(file: &[u8]) -> &[u8] {
    let mut at = 132;
    while file[at..at + 2] == [2, 0] {
        let long = matches!(&file[at + 4..at + 6], b"OB" | b"OW" | b"UN" | b"UT" | b"SQ");
        at += if long {
            12 + usize::try_from(u32::from_le_bytes(file[at + 8..at + 12].try_into().expect("4")))
                .expect("short")
        } else {
            8 + usize::from(u16::from_le_bytes(file[at + 6..at + 8].try_into().expect("2")))
        };
    }
    &file[at..]
}
