//! The list at the end of a ZIP file, looked at before it is read: how long it says it is, is a stranger's word, and all of
//! it would be in memory. PKWARE APPNOTE 4.3.14 to 4.3.16.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::MOST_ENTRIES;

/// The longest list that is read, bytes.
const LONGEST: u64 = 64 << 20;
/// The end of the list, with the longest comment behind it, bytes.
const TAIL: u64 = 22 + 65_535;

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const ENTRY: &[u8] = b"PK\x01\x02";

/// Says what is wrong with the list of this file, or nothing.
pub(super) fn check(file: &File) -> Result<(), String> {
    let length = file.metadata().map_err(|err| err.to_string())?.len();
    match found(file, length).map_err(|err| err.to_string())? {
        None => Err("its list of files is missing or damaged".to_owned()),
        Some((entries, _)) if entries > MOST_ENTRIES as u64 => {
            Err(format!("it holds more than {MOST_ENTRIES} files"))
        }
        Some((_, bytes)) if bytes > LONGEST => {
            Err(format!("its list of files is longer than {} MiB", LONGEST >> 20))
        }
        Some(_) => Ok(()),
    }
}

/// How many entries the list has, and how many bytes, if it is where it should be.
fn found(file: &File, length: u64) -> io::Result<Option<(u64, u64)>> {
    let start = length.saturating_sub(TAIL);
    let tail = read(file, start, length - start)?;
    let Some(at) = memchr::memmem::rfind(&tail, END) else { return Ok(None) };
    let end = start + at as u64;
    let field = |offset: usize, size: usize| number(&tail, at + offset, size);
    let (Some(entries), Some(bytes), Some(offset)) = (field(10, 2), field(12, 4), field(16, 4)) else {
        return Ok(None);
    };
    let is_64 = entries == 0xFFFF || bytes == 0xFFFF_FFFF || offset == 0xFFFF_FFFF;
    let (entries, bytes, behind) = if is_64 {
        let Some(at) = end.checked_sub(20) else { return Ok(None) };
        let locator = read(file, at, 20)?;
        let Some(at) = number(&locator, 8, 8).filter(|at| locator.starts_with(LOCATOR_64) && *at < end)
        else {
            return Ok(None);
        };
        let record = read(file, at, (end - at).min(56))?;
        match (number(&record, 32, 8), number(&record, 40, 8)) {
            (Some(entries), Some(bytes)) if record.starts_with(END_64) => (entries, bytes, at),
            _ => return Ok(None),
        }
    } else {
        (entries, bytes, end)
    };
    // The list ends where its end begins; what comes before the file, as in one that unpacks itself, makes no difference.
    let Some(begin) = behind.checked_sub(bytes) else { return Ok(None) };
    let is_there = entries == 0 || read(file, begin, 4.min(length - begin))? == ENTRY;
    Ok(is_there.then_some((entries, bytes)))
}

fn read(file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("bytes");
        check(&file)
    }

    fn end(entries: u16, bytes: u32) -> Vec<u8> {
        let mut end = END.to_vec();
        end.extend([0; 4]);
        for _ in 0..2 {
            end.extend(entries.to_le_bytes());
        }
        end.extend(bytes.to_le_bytes());
        end.extend([0; 4]);
        end.extend([0; 2]);
        end
    }

    #[test]
    fn a_list_that_claims_more_than_anybody_has_is_not_read() {
        assert_eq!(checked(&end(0, 0)), Ok(()));
        assert_eq!(checked(&[ENTRY, &[0; 42], &end(1, 46)].concat()), Ok(()));
        assert!(checked(b"PK\x03\x04").is_err_and(|err| err.contains("missing or damaged")));
        assert!(checked(&end(1, 46)).is_err(), "it cannot be so long");
        assert!(checked(&[&[0; 46][..], &end(1, 46)].concat()).is_err(), "something else stands there");
        let mut record = END_64.to_vec();
        record.extend([0; 28]);
        record.extend(600_000_000_u64.to_le_bytes());
        record.extend(46_u64.to_le_bytes());
        record.extend([0; 8]);
        let mut locator = LOCATOR_64.to_vec();
        locator.extend([0; 4]);
        locator.extend(46_u64.to_le_bytes());
        locator.extend([0; 4]);
        let forged = [ENTRY, &[0; 42], &record, &locator, &end(0xFFFF, 46)].concat();
        assert!(checked(&forged).is_err_and(|err| err.contains("more than 100000 files")));
    }
}
