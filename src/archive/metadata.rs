//! Metadata that was made, kept beside the archive, so that it is made once for all and its instances are not read again.
//!
//! A file for each study and series somebody asked for: a line that says of what it was made, then JSON, zipped, with
//! [`ROOT`] in the place of our own address. It can go at any time, and is made anew then.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use memchr::memmem;
use sha2::{Digest, Sha256};

use super::Archive;

/// What stands for the address of our DICOMweb in what is kept. Nobody has such a text in a data set, and who makes one
/// finds our address there.
pub const ROOT: &str = "filmroom-root:cc1d36f4b5e14a3c9a4f:";

/// A study or a series, by its UIDs.
#[derive(Debug, Clone)]
pub struct Kept {
    path: PathBuf,
    /// Where files are that a start removes.
    incoming: PathBuf,
    /// Of what it is made.
    made_of: String,
}

impl Archive {
    /// Where the metadata of this study or series is kept that is made of this.
    pub fn kept_metadata(&self, uids: &[&str], made_of: &str) -> Kept {
        let mut hasher = Sha256::new();
        for uid in uids {
            hasher.update(uid);
            hasher.update(b"/");
        }
        let name = hex::encode(hasher.finalize());
        let (folder, name) = name.split_at(2);
        let storage = &self.inner.storage;
        let path = storage.root().join("metadata").join(folder).join(name);
        Kept { path, incoming: storage.incoming(), made_of: format!("{made_of}\n") }
    }
}

impl Kept {
    /// The text, unless it was made of something else or was never made. Waits for the disk.
    pub fn read(&self) -> Option<Vec<u8>> {
        let file = fs::read(&self.path).ok()?;
        let zipped = file.strip_prefix(self.made_of.as_bytes())?;
        let mut text = Vec::with_capacity(zipped.len().saturating_mul(8));
        GzDecoder::new(zipped).read_to_end(&mut text).ok()?;
        Some(text)
    }

    /// Keeps a text, where there is room. Waits for the disk. That it cannot be kept is no fault of who asked for it.
    pub fn write(&self, archive: &Archive, text: &[u8]) {
        if archive.inner.storage.has_room().is_ok_and(|has_room| has_room)
            && let Err(err) = self.try_write(text)
        {
            tracing::warn!(%err, path = %self.path.display(), "metadata could not be kept");
        }
    }

    fn try_write(&self, text: &[u8]) -> io::Result<()> {
        let Some(folder) = self.path.parent() else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(io::Error::other)?;
        let part = self.incoming.join(format!("{}.part", hex::encode(bits)));
        let written = (|| {
            let mut file = fs::File::create_new(&part)?;
            file.write_all(self.made_of.as_bytes())?;
            let mut zip = GzEncoder::new(file, Compression::fast());
            zip.write_all(text)?;
            // A name that is there after a crash must not lead to half of it.
            zip.finish()?.sync_all()?;
            fs::rename(&part, &self.path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&part); // what is left of it is not read
        }
        written
    }
}

/// The text with this address of ours in it.
pub fn with_root(text: &[u8], root: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, ROOT) {
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        out.extend_from_slice(root.as_bytes());
        from = at + ROOT.len();
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_unless_it_is_of_something_else_or_broken() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = |made_of: &str| Kept {
            path: folder.path().join("ab/cd"),
            incoming: folder.path().to_owned(),
            made_of: format!("{made_of}\n"),
        };
        assert_eq!(kept("1").read(), None);
        kept("1").try_write(b"text").expect("a file");
        assert_eq!(kept("1").read().as_deref(), Some(&b"text"[..]));
        assert_eq!(kept("2").read(), None);
        kept("2").try_write(b"other").expect("a file");
        assert_eq!(kept("1").read(), None);
        assert_eq!(kept("2").read().as_deref(), Some(&b"other"[..]));
        let bytes = fs::read(folder.path().join("ab/cd")).expect("a file");
        fs::write(folder.path().join("ab/cd"), &bytes[..bytes.len() - 3]).expect("cut off");
        assert_eq!(kept("2").read(), None);
        assert_eq!(
            fs::read_dir(folder.path().join("ab")).expect("a folder").count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn the_address_takes_its_place() {
        let text = format!("[{ROOT}/a,{ROOT}]");
        assert_eq!(with_root(text.as_bytes(), "http://x"), b"[http://x/a,http://x]");
        assert_eq!(with_root(b"", "x"), b"");
    }
}
