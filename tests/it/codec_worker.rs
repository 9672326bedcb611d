//! Codecs in child processes: they decode, they are limited, and their death costs one picture.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use filmroom::codec::{Decoder, Error, FrameFormat, Limits, Number, Photometric, PixelEncoding, Samples};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn exe() -> PathBuf {
    env!("CARGO_BIN_EXE_filmroom").into()
}

/// 32 x 32 grey pixels in a codestream.
fn format(bits_stored: u16) -> FrameFormat {
    FrameFormat {
        rows: 32,
        columns: 32,
        samples_per_pixel: 1,
        bits_allocated: if bits_stored > 8 { 16 } else { 8 },
        bits_stored,
        high_bit: bits_stored - 1,
        signed: false,
        planar: false,
        photometric: Photometric::Monochrome2,
        number: Number::Integer,
        number_of_frames: 1,
        encoding: PixelEncoding::Codestream,
        encapsulated: true,
        transfer_syntax: "1.2.840.10008.1.2.4.90".to_owned(),
        keep_unused_bits: false,
    }
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

fn ramp() -> Samples {
    Samples::U16((0..32).flat_map(|row| (0..32).map(move |column| row * 64 + column * 2)).collect())
}

/// The process ids of this process's decode workers that were started with this memory limit; the limit
/// tells the workers of one test from those of another.
fn workers(memory: u64) -> Vec<i32> {
    let is_ours = |pid: i32| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let parent = read("status")
            .lines()
            .find_map(|line| line.strip_prefix("PPid:").map(str::trim).map(str::to_owned));
        let arguments = read("cmdline");
        parent == Some(std::process::id().to_string())
            && arguments.contains("decode-worker")
            && arguments.contains(&memory.to_string())
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_ours(*pid))
        .collect()
}

fn signal(pid: i32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A decoder with one worker whose processes can be found by the given limit.
fn decoder(memory: u64, time: Duration) -> Decoder {
    Decoder::with_limits(1, exe(), Limits { memory, time, wait: Duration::from_secs(60) })
}

const PATIENT: Duration = Duration::from_secs(60);

#[test]
fn every_codec_in_the_worker_decodes_its_frame() {
    let decoder = Decoder::new(2, exe());
    for (name, stream) in [
        ("JPEG lossless", JPEG_LOSSLESS),
        ("JPEG-LS", JPEG_LS),
        ("JPEG 2000", JPEG_2000),
        ("HTJ2K", HTJ2K),
        ("JPEG extended", JPEG_EXTENDED),
    ] {
        let decoded = decoder.decode(&format(12), &bytes(stream)).unwrap();
        assert_eq!(decoded.samples, ramp(), "{name}");
    }
    let decoded = decoder.decode(&format(16), &bytes(JPEG_XL)).unwrap();
    assert_eq!(decoded.samples, ramp(), "JPEG XL");
    let decoded = decoder.decode(&format(8), &bytes(JPEG_BASELINE)).unwrap();
    let ramp = (0..32).flat_map(|row| (0..32).map(move |column| row * 4 + column * 2)).collect();
    assert_eq!(decoded.samples, Samples::U8(ramp));
}

#[test]
fn a_worker_killed_while_it_decodes_costs_one_picture() {
    let memory = 1_600_000_001;
    let decoder = decoder(memory, PATIENT);
    decoder.decode(&format(12), &bytes(JPEG_2000)).unwrap();
    let [worker] = workers(memory)[..] else { panic!("not one worker: {:?}", workers(memory)) };

    // Stopped, it will sit on the next frame until it is killed.
    signal(worker, "-STOP");
    let killed = std::thread::scope(|scope| {
        let frame = scope.spawn(|| decoder.decode(&format(12), &bytes(JPEG_2000)));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!frame.is_finished());
        signal(worker, "-KILL");
        frame.join().unwrap()
    });
    assert_eq!(killed, Err(Error::Crashed("JPEG 2000")));

    assert_eq!(decoder.decode(&format(12), &bytes(JPEG_2000)).unwrap().samples, ramp());
    assert!(!workers(memory).contains(&worker));
}

#[test]
fn a_worker_that_died_while_idle_is_replaced_without_a_trace() {
    let memory = 1_600_000_002;
    let decoder = decoder(memory, PATIENT);
    decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap();
    let [worker] = workers(memory)[..] else { panic!("not one worker: {:?}", workers(memory)) };
    signal(worker, "-KILL");
    // The kernel needs a moment to make it a zombie.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap().samples, ramp());
}

#[test]
fn a_frame_that_takes_too_long_is_given_up_and_its_worker_killed() {
    let memory = 1_600_000_003;
    let decoder = decoder(memory, Duration::from_secs(3));
    decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap();
    let [worker] = workers(memory)[..] else { panic!("not one worker: {:?}", workers(memory)) };
    signal(worker, "-STOP");

    let started = Instant::now();
    assert_eq!(decoder.decode(&format(12), &bytes(JPEG_LS)), Err(Error::TimedOut("JPEG-LS")));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!workers(memory).contains(&worker));
    assert_eq!(decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap().samples, ramp());
}

#[test]
fn a_frame_that_needs_too_much_memory_is_a_sentence() {
    // The header says 16384 x 16384 and the attributes agree: OpenJPEG wants a gigabyte for it.
    let mut stream = bytes(JPEG_2000);
    let large = 16_384u32.to_be_bytes();
    for position in [8, 12, 24, 28] {
        stream[position..position + 4].copy_from_slice(&large);
    }
    let memory = 300_000_004;
    let decoder = decoder(memory, PATIENT);
    let format = FrameFormat { rows: 16_384, columns: 16_384, ..format(12) };
    let error = decoder.decode(&format, &stream).unwrap_err();
    assert!(matches!(error, Error::Crashed(_) | Error::Damaged { .. }), "{error}");
    assert!(decoder.decode(&self::format(12), &bytes(JPEG_2000)).is_ok());
}

#[test]
fn a_codestream_of_another_size_is_refused_before_any_worker_starts() {
    let memory = 1_600_000_005;
    let decoder = decoder(memory, PATIENT);
    let smaller = FrameFormat { rows: 31, ..format(12) };
    for stream in [JPEG_LOSSLESS, JPEG_LS, JPEG_2000, JPEG_EXTENDED, JPEG_XL] {
        let error = decoder.decode(&smaller, &bytes(stream)).unwrap_err();
        assert!(error.to_string().contains("32 x 32 pixels, but the attributes say 32 x 31"), "{error}");
    }
    assert_eq!(workers(memory), [0i32; 0]);
}

#[test]
fn the_workers_end_with_their_decoder() {
    let memory = 1_600_000_006;
    let decoder = decoder(memory, PATIENT);
    decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap();
    assert_eq!(workers(memory).len(), 1);
    drop(decoder);
    assert_eq!(workers(memory), [0i32; 0]);
}

#[test]
fn a_worker_has_nothing_of_its_parent() {
    let memory = 1_600_000_007;
    let decoder = decoder(memory, PATIENT);
    decoder.decode(&format(12), &bytes(JPEG_LS)).unwrap();
    let [worker] = workers(memory)[..] else { panic!("not one worker: {:?}", workers(memory)) };
    assert_eq!(std::fs::read(format!("/proc/{worker}/environ")).unwrap(), b"");
    assert_eq!(std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count(), 3);
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert!(line.contains(&memory.to_string()), "{line}");
}

#[test]
fn a_stream_that_cannot_be_named_says_so() {
    let error = Decoder::new(1, exe()).decode(&format(12), b"whatever").unwrap_err();
    assert_eq!(error, Error::UnknownCompression("1.2.840.10008.1.2.4.90".to_owned()));
}

/// Whatever happens to a stream on its way, the answer is a picture of the right size or a sentence.
#[test]
fn damaged_streams_never_end_more_than_their_picture() {
    let decoder = Decoder::new(2, exe());
    for stream in [JPEG_LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, JPEG_EXTENDED, JPEG_BASELINE, JPEG_XL] {
        let original = bytes(stream);
        let mutations = proptest::collection::vec((0..original.len(), any::<u8>()), 1..6);
        let cut = 0..=original.len();
        let mut runner =
            TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        runner
            .run(&(mutations, cut, any::<bool>()), |(mutations, cut, truncate)| {
                let mut damaged = original.clone();
                for (position, byte) in mutations {
                    damaged[position] = byte;
                }
                if truncate {
                    damaged.truncate(cut);
                }
                match decoder.decode(&format(12), &damaged) {
                    Ok(decoded) => prop_assert_eq!(decoded.samples.len(), 1024),
                    Err(Error::NoWorker(reason)) => prop_assert!(false, "{}", reason),
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
                Ok(())
            })
            .unwrap();
    }
}

/// 8 bits, quality 100, made by dcmcjpeg: `row * 4 + column * 2`.
const JPEG_BASELINE: &str = "
    ffd8ffe000104a46494600010100000100010000ffdb0043000101010101010101010101010101010101010101010101
    0101010101010101010101010101010101010101010101010101010101010101010101010101010101ffc0000b080020
    002001011100ffc400150001010000000000000000000000000000080affc4001b100000070100000000000000000000
    000000060724334251e1ffda0008010100003f008a72d26d1b7caf0200b49b46df2bc0802d26d1b7caf0200b49b46df2
    bc07f2d26d1b7caf0200b49b46df2bc0802d26d1b7caf0200b49b46df2bc07f2d26d1b7caf0200b49b46df2bc0802d26
    d1b7caf0200b49b46df2bc07f2d26d1b7caf0200b49b46df2bc0802d26d1b7caf0200b49b46df2bc1fffffd9";

/// 12 bits, quality 100, made by dcmcjpeg: `row * 64 + column * 2`, as the ones below.
const JPEG_EXTENDED: &str = "
    ffd8ffe000104a46494600010100000100010000ffdb0043000101010101010101010101010101010101010101010101
    0101010101010101010101010101010101010101010101010101010101010101010101010101010101ffc1000b0c0020
    002001011100ffc400160001010100000000000000000000000000080c0effc4001c1000000603000000000000000000
    00000000060b273346516471ffda0008010100003f00c39b9693718d85c56b9ac1005a4dc6361715ae6b0401693718d8
    5c56b9ac1005a4dc6361715ae6b0ba00b49b8c6c2e2b5cd60802d26e31b0b8ad7358200b49b8c6c2e2b5cd60802d26e3
    1b0b8ad73585d005a4dc6361715ae6b0401693718d85c56b9ac1005a4dc6361715ae6b0401693718d85c56b9ac2e802d
    26e31b0b8ad7358200b49b8c6c2e2b5cd60802d26e31b0b8ad7358200b49b8c6c2e2b5cd61ffffd9";

/// Process 14, selection value 1, made by dcmcjpeg.
const JPEG_LOSSLESS: &str = "
    ffd8ffe000104a46494600010100000100010000ffc3000b100020002001011100ffc400160001010100000000000000
    000000000000020710ffda0008010100010000c92492492492492492492492a024924924924924924924924a80924924
    92492492492492492a024924924924924924924924a8092492492492492492492492a024924924924924924924924a80
    92492492492492492492492a024924924924924924924924a8092492492492492492492492a024924924924924924924
    924a8092492492492492492492492a024924924924924924924924a8092492492492492492492492a024924924924924
    924924924a8092492492492492492492492a024924924924924924924924a8092492492492492492492492a024924924
    924924924924924a8092492492492492492492492a024924924924924924924924a8092492492492492492492492a024
    924924924924924924924a8092492492492492492492492a024924924924924924924924a80924924924924924924924
    92a024924924924924924924924a8092492492492492492492492a024924924924924924924924a80924924924924924
    92492492a024924924924924924924924a8092492492492492492492492a024924924924924924924924bfffffd9";

/// Made by dcmcjpls.
const JPEG_LS: &str = "
    ffd8fff7000b100020002001011100fff8000d01ffff0012004301140040ffda0008010100000000a01c0380300c0301
    80c060300e00c0300c06030180c0c0c0c0c0c0c0c0c183060c1832020240280200804020100808080808080808081020
    408102040810204081020248081020820820820820820820820820820820820820820820147e82082084210842108421
    0842108421084210842009f210842108888888888888888888888888027a888888892492492492492492402f12492492
    aaaaaaaaaa805daaaaaaff7ff805d3ff7fff7e0172ff7fff7f80b87fff7fff405bbfff7fff602d9fff7fff7016afff7f
    ff780b47ff7fff7c0737ff7fff7c0727ff7fff7c0717ff7fff7c0e0fff7fff781bdfff7fff70373fff7fff606d7fff7f
    ff40d8ff7fff7f81adff7fff7f0353ff7fff7e0697ff7fff7c0d0fff7fff7819dfff7fff70333fff7fff60657fff7fff
    40c8ff7fff7f818dff7fff7f00ffffd9";

/// Made by OpenJPEG.
const JPEG_2000: &str = "
    ff4fff5100290000000000200000002000000000000000000000002000000020000000000000000000010b0101ff5200
    0c00000001000504040001ff5c00134060686870686870686870686870686870ff640025000143726561746564206279
    204f70656e4a5045472076657273696f6e20322e352e32ff90000a0000000000640001ff93cfe40c05cf7fc03ea028fe
    4080043f0462c01f38487ec0800d01ff7f0b3d8516c00f90241f9830221a085f037fdd5233bdc007c2240fc02036a19a
    bf3da6345b10dc5c69c003a2407da0e05fa7c7879dac294107ff7fffd900";

/// 16 bits, lossless, made by zune-jpegxl.
const JPEG_XL: &str = "
    ff0af8003ee007286e040802010054094b189b9c71840338800338204ac0390501002044800810012240e49fffbfe7ff
    ff7b6aa3d731e65a6badb5f7de7b135044444444c4ffffff7fee7d99999999f0ffff07ffff5fd4c71863ceb5f6defb9c
    73ce21a08888888888ccccccfbdeafaaaaaa82ffff3ff8ffffa23ec61873aeb5f7dee79c730e014544444444646666de
    f77e55555515fcffffc1ffff17f531c69873adbdf73ee79c73082822222222223333f3bef7abaaaaaa26000000000000
    000000000070070000000000000000000000803b000000000000000000000000dc010000000000000000000000e00e00
    000000000000000000000077000000000000000000000000b8030000000000000000000000c01d000000000000000000
    000000ee00000000000000000000000070070000000000000000000000803b000000000000000000000000dc01000000
    0000000000000000e00e00000000000000000000000077000000000000000000000000b8030000000000000000000000
    c01d000000000000000000000000ee00000000000000000000000070070000000000000000000000803b000000000000
    000000000000dc010000000000000000000000e00e00000000000000000000000077000000000000000000000000b803
    0000000000000000000000c01d000000000000000000000000ee00000000000000000000000070070000000000000000
    000000803b000000000000000000000000dc010000000000000000000000e00e00000000000000000000000077000000
    000000000000000000b8030000000000000000000000c01d00000000000000000000000000";

/// High-throughput JPEG 2000, 12 bits, lossless, made by openjph-core.
const HTJ2K: &str = "
    ff4fff5100294000000000200000002000000000000000000000002000000020000000000000000000010b0101ff5000
    08000200000008ff52000c00020001000304044001ff5c000d2078808080787878707070ff90000a0000000000a00001
    ff93c000b780ff7fbfdfff3dbfff5dcd6feeff6df6fda6fdbe659b4fd8001a210031b700c0004f0001560000a0a7c275
    00461a3162e4c04201ecb600c000ab80016980000000e7c0a7a7a74278001e3d3c3c3c3c3c3cfefd8c607bf63181ecba
    00c0015d0005be0000f9ff14f4f4f4f4f4f4f27c007edff77ddff77ddff77ddff7ff78604207bf61081efd84207bf610
    81ecb301ffd9";
