//! The steps that the profiles of a store and of a picture show, one by one: `make bench ONLY=micro`.

#[path = "peers/data.rs"]
#[expect(dead_code, reason = "of what is sent to servers, one instance is enough here")]
mod data;

use std::hint::black_box;
use std::io::Cursor;
use std::ops::Range;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filmroom::archive::receive::LIMITS;
use filmroom::codec::{Decoded, Decoder, FrameFormat, Number, Photometric, PixelEncoding, Samples};
use filmroom::db::matching;
use filmroom::db::visibility::Visibility;
use filmroom::dicom::attributes::Attributes;
use filmroom::dicom::data_set::DataSet;
use filmroom::dicom::prescan;
use filmroom::dicom::query::{Attribute, Direction, Key, Level, Matching, Page, Query, Sort, SortKey, Word};
use filmroom::dicom::uid::Encoding;
use filmroom::render::{self, Frame, Picture, Pixels, View, Window};

/// What an instance costs between its last byte and its file's final name: a CT slice.
fn receiving(criterion: &mut Criterion) {
    let place = data::Place { run: 1, patient: 1, study: 1, series: 1, instance: 1 };
    let instance = data::Kind::ct().at(place);
    let bytes = [instance.header.as_slice(), instance.pixels.as_slice()].concat();
    let scan = || {
        let encoding = Encoding::ExplicitVrLittleEndian;
        prescan::scan(Cursor::new(bytes.as_slice()), bytes.len() as u64, encoding, &LIMITS)
    };
    let Ok(scanned) = scan() else { panic!("the slice is sound") };
    let mut group = criterion.benchmark_group("receive");
    group.bench_function("prescan", |bencher| bencher.iter(|| black_box(scan())));
    group.bench_function("attributes", |bencher| {
        bencher.iter(|| Attributes::from_scan(black_box(&scanned), None, None));
    });
    group.finish();
}

/// A search of the study list becomes SQL.
fn searching(criterion: &mut Criterion) {
    let query = Query {
        level: Level::Study,
        words: Word::all("Müller-Lüdenscheidt 4711"),
        keys: vec![Key {
            attribute: Attribute::ModalitiesInStudy,
            matching: Matching::MultipleValue(vec!["CT".into(), "MR".into()]),
        }],
        sort: Sort { by: SortKey::StudyDate, direction: Direction::Descending },
        page: Page { number: 1, size: 25, as_of: None },
    };
    criterion.bench_function("matching", |bencher| {
        bencher.iter(|| matching::conditions(black_box(&query), &Visibility::All).sql());
    });
}

/// Values up to 12 bits: a slope, and noise of 32 values on it.
fn radiograph(rows: u32, columns: u32) -> Decoded {
    let mut state = 1_u32;
    let pixels = u64::from(rows) * u64::from(columns);
    let samples = (0..pixels).map(|at| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((at * 4000 / pixels) as u16) + (state >> 27) as u16
    });
    Decoded {
        rows,
        columns,
        samples_per_pixel: 1,
        bits_stored: 12,
        photometric: Photometric::Monochrome2,
        samples: Samples::U16(samples.collect()),
        unused_bits: None,
    }
}

fn pictures(criterion: &mut Criterion) {
    let attributes = DataSet::of([]);
    let window = Some(Window { center: 2048.0, width: 4096.0 });
    let mut group = criterion.benchmark_group("picture");
    for (name, rows, columns, side) in [
        ("ct", 512, 512, None),
        ("cr", 2500, 2048, None),
        ("cr_thumbnail", 2500, 2048, Some(160)),
        ("cr_fitted", 2500, 2048, Some(1200)),
    ] {
        let decoded = radiograph(rows, columns);
        let view = View { window, width: side, height: side, ..View::default() };
        group.throughput(Throughput::Elements(u64::from(rows) * u64::from(columns)));
        group.bench_function(name, |bencher| {
            let read = |rows: Range<u32>, step| Ok::<_, render::Error>(decoded.band(rows, step));
            let frame = Frame { rows, columns, read: &read };
            bencher.iter(|| render::png(black_box(&frame), &attributes, 0, &view));
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let Samples::U16(samples) = radiograph(512, 512).samples else { return };
    let picture = Picture {
        width: 512,
        height: 512,
        pixels: Pixels::Grey(samples.iter().map(|sample| (sample >> 4) as u8).collect()),
    };
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(512 * 512));
    group.bench_function("png", |bencher| bencher.iter(|| render::encode(black_box(&picture))));
    group.finish();
}

/// Two segments of literal runs and of repeated bytes (PS3.5 G.3) for 512 times 512 pixels of 16 bits.
fn rle(criterion: &mut Criterion) {
    let runs = (0..2048_u32).flat_map(|run| {
        let literal = [127].into_iter().chain((0..128).map(move |at| (at ^ run) as u8));
        let part: Vec<u8> = if run % 2 == 0 { literal.collect() } else { vec![129, run as u8] };
        part
    });
    let segment: Vec<u8> = runs.collect();
    let second = u32::try_from(64 + segment.len()).unwrap_or(0);
    let mut header = [2, 64, second].map(u32::to_le_bytes).concat();
    header.resize(64, 0);
    let encoded = [header, segment.clone(), segment].concat();
    let format = FrameFormat {
        rows: 512,
        columns: 512,
        samples_per_pixel: 1,
        bits_allocated: 16,
        bits_stored: 16,
        high_bit: 15,
        signed: false,
        planar: false,
        photometric: Photometric::Monochrome2,
        number: Number::Integer,
        number_of_frames: 1,
        encoding: PixelEncoding::Rle,
        encapsulated: true,
        transfer_syntax: "1.2.840.10008.1.2.5".to_owned(),
        keep_unused_bits: false,
    };
    // RLE needs no worker.
    let decoder = Decoder::new(1, "/nonexistent".into());
    assert!(decoder.decode(&format, &encoded).is_ok(), "the frame is sound");
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(512 * 512));
    group.bench_function("rle", |bencher| bencher.iter(|| decoder.decode(&format, black_box(&encoded))));
    group.finish();
}

criterion_group!(benches, receiving, searching, pictures, encoding, rle);
criterion_main!(benches);
