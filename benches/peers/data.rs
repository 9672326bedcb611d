//! Instances that are sent: made data sets with realistic headers, Explicit VR Little Endian.
//!
//! Instances of a kind share their pixels and differ in their header, so that making one costs microseconds and the
//! sender is never what is measured.

use std::sync::Arc;

use dicom_dictionary_std::uids;

/// A kind of instance, with the pixels all of the kind share.
#[derive(Clone)]
pub struct Kind {
    pub sop_class_uid: &'static str,
    modality: &'static str,
    rows: u16,
    columns: u16,
    frames: u32,
    bits_allocated: u16,
    bits_stored: u16,
    window: (i32, i32),
    description: &'static str,
    /// The samples, or none: then there is no picture.
    pub pixels: Arc<Vec<u8>>,
}

/// One instance: what stands before the pixels; they are the kind's.
pub struct Instance {
    pub sop_class_uid: &'static str,
    pub study: String,
    pub series: String,
    pub sop_instance_uid: String,
    /// Everything up to and with the header of Pixel Data.
    pub header: Vec<u8>,
    /// The value of Pixel Data.
    pub pixels: Arc<Vec<u8>>,
}

/// Where in the archive an instance stands.
#[derive(Clone, Copy)]
pub struct Place {
    /// Told apart between runs and rows.
    pub run: u32,
    pub patient: u32,
    pub study: u32,
    pub series: u32,
    pub instance: u32,
}

impl Kind {
    /// A CT slice, 512 x 512, 12 of 16 bits: 525 KB.
    pub fn ct() -> Kind {
        Kind {
            sop_class_uid: uids::CT_IMAGE_STORAGE,
            modality: "CT",
            rows: 512,
            columns: 512,
            frames: 1,
            bits_allocated: 16,
            bits_stored: 12,
            window: (1064, 400),
            description: "Head without contrast",
            pixels: Arc::new(phantom(512, 512, 4095, 24)),
        }
    }

    /// A radiograph, 2048 x 2500, 12 of 16 bits: 10.2 MB.
    pub fn cr() -> Kind {
        Kind {
            sop_class_uid: uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
            modality: "CR",
            rows: 2500,
            columns: 2048,
            window: (2048, 4096),
            description: "Chest PA",
            pixels: Arc::new(phantom(2500, 2048, 4095, 12)),
            ..Kind::ct()
        }
    }

    /// A mammogram, 3328 x 2560, 12 of 16 bits: 17 MB.
    pub fn mg() -> Kind {
        Kind {
            sop_class_uid: uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
            modality: "MG",
            rows: 3328,
            columns: 2560,
            window: (2048, 4096),
            description: "Mammography screening",
            pixels: Arc::new(phantom(3328, 2560, 4095, 12)),
            ..Kind::ct()
        }
    }

    /// An ultrasound clip in colour, 640 x 480 x 30 frames: 27.6 MB.
    pub fn us() -> Kind {
        Kind {
            sop_class_uid: uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
            modality: "US",
            rows: 480,
            columns: 640,
            frames: 30,
            bits_allocated: 8,
            bits_stored: 8,
            window: (128, 256),
            description: "Abdomen",
            pixels: Arc::new((0..30).flat_map(|_| colour(&phantom(480, 640, 255, 10))).collect()),
        }
    }

    /// An angiography run, 512 x 512 x 200 frames of 8 bits: 52 MB.
    pub fn cine() -> Kind {
        let frame: Vec<u8> = phantom(512, 512, 255, 10).chunks_exact(2).map(|sample| sample[0]).collect();
        Kind {
            sop_class_uid: uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
            modality: "XA",
            frames: 200,
            bits_allocated: 8,
            bits_stored: 8,
            window: (128, 256),
            description: "Coronary angiography",
            pixels: Arc::new((0..200).flat_map(|_| frame.clone()).collect()),
            ..Kind::ct()
        }
    }

    /// The same of 400 frames: 105 MB.
    pub fn long_cine() -> Kind {
        let Kind { pixels, .. } = Kind::cine();
        Kind { frames: 400, pixels: Arc::new(pixels.repeat(2)), ..Kind::cine() }
    }

    /// A slice of 16 x 16 pixels: what is left is header and index.
    pub fn tiny() -> Kind {
        Kind { rows: 16, columns: 16, pixels: Arc::new(phantom(16, 16, 4095, 24)), ..Kind::ct() }
    }

    /// The instance at this place.
    pub fn at(&self, place: Place) -> Instance {
        let Place { run, patient, study, series, instance } = place;
        let study_uid = format!("1.2.826.0.1.3680043.10.999.{run}.{study}");
        let series_uid = format!("{study_uid}.{series}");
        let sop_instance_uid = format!("{series_uid}.{instance}");
        let family = FAMILIES[patient as usize % FAMILIES.len()];
        let given = GIVEN[patient as usize / FAMILIES.len() % GIVEN.len()];
        let day = format!("20{:02}{:02}{:02}", 14 + study % 12, 1 + study / 12 % 12, 1 + study / 144 % 28);
        let mut header = DataSet(Vec::with_capacity(2048));
        header.text(0x0008, 0x0005, b"CS", "ISO_IR 100");
        header.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL");
        header.text(0x0008, 0x0016, b"UI", self.sop_class_uid);
        header.text(0x0008, 0x0018, b"UI", &sop_instance_uid);
        header.text(0x0008, 0x0020, b"DA", &day);
        header.text(0x0008, 0x0021, b"DA", &day);
        header.text(0x0008, 0x0022, b"DA", &day);
        header.text(0x0008, 0x0023, b"DA", &day);
        let time = format!("{:02}{:02}{:02}", 7 + study % 12, study / 12 % 60, instance % 60);
        header.text(0x0008, 0x0030, b"TM", &format!("{:02}{:02}00", 7 + study % 12, study / 12 % 60));
        header.text(0x0008, 0x0031, b"TM", &time);
        header.text(0x0008, 0x0032, b"TM", &time);
        header.text(0x0008, 0x0033, b"TM", &time);
        header.text(0x0008, 0x0050, b"SH", &format!("A{run:02}{study:07}"));
        header.text(0x0008, 0x0060, b"CS", self.modality);
        header.text(0x0008, 0x0070, b"LO", "Acme Imaging");
        header.text(0x0008, 0x0080, b"LO", "Practice at the Park");
        header.text(0x0008, 0x0081, b"ST", "12 Park Street");
        header.text(0x0008, 0x0090, b"PN", &format!("{}^Robin", FAMILIES[study as usize % 7]));
        header.text(0x0008, 0x1010, b"SH", "STATION1");
        header.text(0x0008, 0x1030, b"LO", self.description);
        header.text(0x0008, 0x103E, b"LO", "Axial 5.0");
        header.text(0x0008, 0x1070, b"PN", "Operator^One");
        header.text(0x0008, 0x1090, b"LO", "Scan 64");
        header.text(0x0010, 0x0010, b"PN", &format!("{family}^{given}"));
        header.text(0x0010, 0x0020, b"LO", &patient_id(run, patient));
        let born = (1930 + patient % 80, 1 + patient % 12, 1 + patient % 28);
        header.text(0x0010, 0x0030, b"DA", &format!("{}{:02}{:02}", born.0, born.1, born.2));
        header.text(0x0010, 0x0040, b"CS", ["F", "M"][patient as usize % 2]);
        header.text(0x0010, 0x1010, b"AS", "054Y");
        header.text(0x0018, 0x0015, b"CS", "HEAD");
        header.text(0x0018, 0x0050, b"DS", "5.0");
        header.text(0x0018, 0x0060, b"DS", "120");
        header.text(0x0018, 0x1000, b"LO", "SN-4711");
        header.text(0x0018, 0x1020, b"LO", "V2.1");
        header.text(0x0018, 0x1030, b"LO", "Routine head");
        header.text(0x0018, 0x1151, b"IS", "220");
        header.text(0x0018, 0x5100, b"CS", "HFS");
        header.text(0x0020, 0x000D, b"UI", &study_uid);
        header.text(0x0020, 0x000E, b"UI", &series_uid);
        header.text(0x0020, 0x0010, b"SH", &study.to_string());
        header.text(0x0020, 0x0011, b"IS", &series.to_string());
        header.text(0x0020, 0x0012, b"IS", "1");
        header.text(0x0020, 0x0013, b"IS", &instance.to_string());
        header.text(0x0020, 0x0032, b"DS", &format!("-125\\-125\\{}", instance * 5));
        header.text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0");
        header.text(0x0020, 0x0052, b"UI", &format!("{study_uid}.0"));
        header.text(0x0020, 0x1041, b"DS", &(instance * 5).to_string());
        let in_colour = self.sop_class_uid == uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE;
        header.number(0x0028, 0x0002, if in_colour { 3 } else { 1 });
        header.text(0x0028, 0x0004, b"CS", if in_colour { "RGB" } else { "MONOCHROME2" });
        if in_colour {
            header.number(0x0028, 0x0006, 0);
        }
        if self.frames > 1 {
            header.text(0x0028, 0x0008, b"IS", &self.frames.to_string());
        }
        header.number(0x0028, 0x0010, self.rows);
        header.number(0x0028, 0x0011, self.columns);
        header.text(0x0028, 0x0030, b"DS", "0.48\\0.48");
        header.number(0x0028, 0x0100, self.bits_allocated);
        header.number(0x0028, 0x0101, self.bits_stored);
        header.number(0x0028, 0x0102, self.bits_stored - 1);
        header.number(0x0028, 0x0103, 0);
        header.text(0x0028, 0x1050, b"DS", &self.window.0.to_string());
        header.text(0x0028, 0x1051, b"DS", &self.window.1.to_string());
        header.text(0x0028, 0x1052, b"DS", if self.modality == "CT" { "-1024" } else { "0" });
        header.text(0x0028, 0x1053, b"DS", "1");
        header.pixel_data(self.bits_allocated, self.pixels.len());
        Instance {
            sop_class_uid: self.sop_class_uid,
            study: study_uid,
            series: series_uid,
            sop_instance_uid,
            header: header.0,
            pixels: self.pixels.clone(),
        }
    }
}

/// Patient ID of this patient.
pub fn patient_id(run: u32, patient: u32) -> String {
    format!("P{run:02}{patient:06}")
}

/// Whether this patient's family name is Smith.
pub fn is_called_smith(patient: u32) -> bool {
    FAMILIES[patient as usize % FAMILIES.len()] == "Smith"
}

impl Instance {
    /// Bytes of its data set.
    pub fn len(&self) -> usize {
        self.header.len() + self.pixels.len()
    }
}

/// A data set in Explicit VR Little Endian, growing.
#[derive(Default)]
pub struct DataSet(pub Vec<u8>);

impl DataSet {
    fn tag(&mut self, group: u16, element: u16) {
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
    }

    /// Adds an element; they are added in the order of their tags.
    pub fn text(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &str) {
        let length = value.len().next_multiple_of(2);
        self.tag(group, element);
        self.0.extend_from_slice(vr);
        self.0.extend_from_slice(&(length as u16).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        if length > value.len() {
            self.0.push(if vr == b"UI" { 0 } else { b' ' });
        }
    }

    fn number(&mut self, group: u16, element: u16, value: u16) {
        self.tag(group, element);
        self.0.extend_from_slice(b"US\x02\0");
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn pixel_data(&mut self, bits_allocated: u16, length: usize) {
        self.tag(0x7FE0, 0x0010);
        self.0.extend_from_slice(if bits_allocated > 8 { b"OW\0\0" } else { b"OB\0\0" });
        self.0.extend_from_slice(&(length as u32).to_le_bytes());
    }
}

/// An ellipse with soft structure in it on a dark ground, with noise, as 16-bit little endian samples up to `most`.
fn phantom(rows: usize, columns: usize, most: u16, noise: u32) -> Vec<u8> {
    let mut random = 0x9E37_79B9_u32;
    let mut samples = Vec::with_capacity(rows * columns * 2);
    for row in 0..rows {
        for column in 0..columns {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let y = row as f32 / rows as f32 * 2.0 - 1.0;
            let x = column as f32 / columns as f32 * 2.0 - 1.0;
            let inside = x * x / 0.64 + y * y / 0.81 < 1.0;
            let tissue = 0.45 + 0.2 * (5.0 * x).sin() * (4.0 * y).cos() + 0.1 * (23.0 * (x + y)).sin();
            let level = if inside { tissue * f32::from(most) } else { 0.01 * f32::from(most) };
            let spread = if inside { noise } else { noise / 4 + 1 };
            let sample = level as u32 + random % spread;
            samples.extend_from_slice(&(sample.min(most.into()) as u16).to_le_bytes());
        }
    }
    samples
}

/// Grey 16-bit samples as RGB.
fn colour(samples: &[u8]) -> Vec<u8> {
    samples.chunks_exact(2).flat_map(|sample| [sample[0], sample[0] / 2 + 40, 255 - sample[0]]).collect()
}

const FAMILIES: [&str; 40] = [
    "Smith",
    "Jones",
    "Taylor",
    "Brown",
    "Williams",
    "Wilson",
    "Johnson",
    "Davies",
    "Patel",
    "Robinson",
    "Wright",
    "Thompson",
    "Evans",
    "Walker",
    "White",
    "Roberts",
    "Green",
    "Hall",
    "Wood",
    "Jackson",
    "Clarke",
    "Mueller",
    "Schmidt",
    "Schneider",
    "Fischer",
    "Weber",
    "Meyer",
    "Wagner",
    "Becker",
    "Schulz",
    "Garcia",
    "Martinez",
    "Lopez",
    "Rossi",
    "Russo",
    "Ferrari",
    "Dubois",
    "Moreau",
    "Laurent",
    "Nguyen",
];

const GIVEN: [&str; 25] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Ida", "Jakob", "Karin", "Leo",
    "Maria", "Noah", "Olga", "Paul", "Quinn", "Rosa", "Simon", "Tina", "Uwe", "Vera", "Walter", "Xenia",
    "Yann",
];
