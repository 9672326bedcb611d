//! Who had which examination when.

use chrono::{Days, NaiveDate};
use dicom_dictionary_std::uids;

use super::Instance;
use super::chest::{self, Chest};
use super::exam::{Equipment, Exam};
use super::people::{LEFEVRE, MANSOUR, NUNEZ, PAPADOPOULOU, Patient, RATTANAKUL, SOKOLOV, SUZUKI, WANG};
use super::{ct_head, hand, mammogram, mr_brain, reports, ultrasound};

/// How many instances [`studies`] makes: five chests, a hand, a loop, two reports, and what the series say.
pub const COUNT: usize = ct_head::COUNT + mr_brain::COUNT + mammogram::COUNT + 9;

/// The SOP classes of all of them.
pub const SOP_CLASSES: [&str; 8] = [
    uids::CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
];

type Instances = Box<dyn Iterator<Item = Instance> + Send>;

static CT: Equipment = Equipment {
    manufacturer: "Meridian Medical",
    model: "Axia 64",
    station: "CT1",
    serial_number: "64-20817",
    software: "VB20A",
    department: "Radiology",
};
static MR: Equipment = Equipment {
    manufacturer: "Meridian Medical",
    model: "Tesla Clara 1.5",
    station: "MR1",
    serial_number: "15-00342",
    software: "NX E11",
    department: "Radiology",
};
static DX: Equipment = Equipment {
    manufacturer: "Northlight Imaging",
    model: "Bucky D2",
    station: "DXROOM2",
    serial_number: "D2-7719",
    software: "4.2.1",
    department: "Radiology",
};
static CR: Equipment = Equipment {
    manufacturer: "Plateline",
    model: "CR 35-X",
    station: "CRREADER",
    serial_number: "35X-1180",
    software: "1.9",
    department: "Radiology",
};
static US: Equipment = Equipment {
    manufacturer: "Sonora",
    model: "Echo S7",
    station: "ECHO1",
    serial_number: "S7-40226",
    software: "R3.1.2",
    department: "Cardiology",
};
static MG: Equipment = Equipment {
    manufacturer: "Northlight Imaging",
    model: "Lumen Mammo",
    station: "MG1",
    serial_number: "LM-0931",
    software: "2.7.0",
    department: "Breast centre",
};

/// Every study's instances, the newest study first. Nothing is made before it is asked for.
pub fn studies(today: NaiveDate) -> Vec<Instances> {
    let before = |days: u64| today.checked_sub_days(Days::new(days)).unwrap_or(today);
    let exam = |key, patient, date, time, description, reason, number, equipment| Exam {
        key,
        patient,
        date,
        time,
        description,
        reason,
        number,
        equipment,
    };
    let weakness = "Sudden weakness of the left arm";
    let head = exam("head", &LEFEVRE, today, (6, 42), "CT head without contrast", weakness, 3, &CT);
    let murmur = "Systolic murmur";
    let heart = exam("heart", &NUNEZ, today, (7, 15), "Echocardiography", murmur, 5, &US);
    let numbness = "Numbness of both legs, optic neuritis";
    let brain = exam("brain", &SUZUKI, before(2), (10, 5), "MR brain", numbness, 11, &MR);
    let screening = exam("breast", &PAPADOPOULOU, before(3), (9, 20), "Mammography screening", "", 7, &MG);
    let fall = "Fell on the hand";
    let hand = exam("hand", &MANSOUR, before(5), (16, 48), "X-ray left hand", fall, 19, &CR);

    vec![
        Box::new(ct_head::instances(head)),
        once(move || head_report(&head)),
        once(move || ultrasound::instance(&heart)),
        Box::new(chests(before(1), before(6), before(9))),
        Box::new(mr_brain::instances(brain)),
        Box::new(mammogram::instances(screening)),
        once(move || hand::instance(&hand)),
    ]
}

fn once(make: impl FnOnce() -> Instance + Send + 'static) -> Instances {
    Box::new(std::iter::once_with(make))
}

/// A nodule that has grown over three examinations, with its report, a healthy chest, and one taken in bed.
fn chests(
    recent: NaiveDate,
    last_week: NaiveDate,
    earlier: NaiveDate,
) -> impl Iterator<Item = Instance> + Send {
    let fixed = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    let healthy = Chest { seed: 3, nodule: 0.0, heart: 1.0, paced: false, plate: false };
    let chest = |key, patient: &'static Patient, date, description, number, equipment| Exam {
        key,
        patient,
        date,
        time: (11, 30),
        description,
        reason: "Cough",
        number,
        equipment,
    };
    let now = chest("chest", &SOKOLOV, recent, "Chest PA", 14, &DX);
    let year_ago = chest("chest", &SOKOLOV, fixed(2024, 3, 12), "Chest PA", 9, &DX);
    let years_ago = chest("chest", &SOKOLOV, fixed(2021, 10, 5), "Chest PA", 22, &CR);
    let visa = chest("visa", &WANG, last_week, "Chest PA", 2, &DX);
    let in_bed = chest("bed", &RATTANAKUL, earlier, "Chest AP portable", 31, &DX);
    let pictures = [
        (now, Chest { nodule: 10.0, ..healthy }),
        (year_ago, Chest { nodule: 6.0, ..healthy }),
        (years_ago, Chest { plate: true, ..healthy }),
        (visa, Chest { seed: 12, heart: 0.92, ..healthy }),
        (in_bed, Chest { seed: 8, heart: 1.25, paced: true, ..healthy }),
    ];
    let pictures = pictures.into_iter().map(|(exam, chest)| chest::instance(&exam, &chest));
    pictures.chain(std::iter::once_with(move || chest_report(&now)))
}

fn head_report(exam: &Exam) -> Instance {
    let lines = [
        "Technique: 5 mm axial slices without contrast, brain and bone kernel, coronal reformation.",
        "",
        "Findings: Hyperdense bleeding of 15 x 26 x 22 mm in the right basal ganglia with a rim of",
        "oedema. No shift of the midline. Ventricles and sulci fit the age. No fracture.",
        "",
        "Impression: Acute bleeding in the right basal ganglia.",
        "",
        "Chidi Okafor, radiologist",
        "",
        "This patient does not exist. The pictures are computed.",
    ];
    reports::pdf(exam, "Report: CT head", &lines)
}

fn chest_report(exam: &Exam) -> Instance {
    let sections = [
        ("11329-0", "History", "Cough for three weeks. Smoker."),
        (
            "59776-5",
            "Findings",
            "Nodule of 20 mm in the right upper lobe; 12 mm on 12 March 2024, not seen on 5 October 2021. Heart of normal size. No effusion.",
        ),
        ("19005-8", "Impression", "Growing nodule in the right upper lobe. CT of the chest is recommended."),
    ];
    reports::structured(exam, &sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_day_gives_the_same_bytes_and_another_day_other_uids() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).expect("a day");
        let hand = |today| studies(today).pop().and_then(|mut study| study.next()).expect("a hand");
        let (first, second, later) = (hand(day(23)), hand(day(23)), hand(day(24)));
        assert_eq!(first.sop_instance_uid, second.sop_instance_uid);
        assert!(first.data_set == second.data_set);
        assert_ne!(first.sop_instance_uid, later.sop_instance_uid);
    }
}
