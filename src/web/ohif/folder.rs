//! The folder of the viewer: which files there are, and each as it is sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{PAGE, moved};

/// What is kept of files that were asked for, bytes as they are sent.
const KEPT: u64 = 96 << 20;
/// Files and folders, far more than there are: a folder with more is not of this viewer.
const MOST_FILES: usize = 20_000;

/// The files of the viewer, as they were when the program started.
pub struct Folder {
    /// By what stands behind `/ohif/` in an address. Nothing else is opened.
    files: BTreeMap<String, PathBuf>,
    /// Where the files believe they are.
    base: String,
    made: Cache<String, Made>,
}

/// A file as it is sent.
#[derive(Debug, Clone)]
pub struct Made {
    /// The content, zipped where that makes it smaller.
    pub bytes: Bytes,
    /// As gzip.
    pub is_zipped: bool,
    /// Of the content.
    pub tag: String,
    /// The content type.
    pub kind: &'static str,
    /// The name changes with the content, and the content is as it is in the folder.
    pub is_lasting: bool,
    /// What it may load.
    pub policy: String,
}

impl Folder {
    /// The viewer in this folder.
    pub fn open(folder: &Path) -> std::io::Result<Folder> {
        let base = moved::base(&std::fs::read_to_string(folder.join(PAGE))?).to_owned();
        let weigh = |name: &String, made: &Made| {
            u32::try_from(name.len() + made.bytes.len() + made.policy.len()).unwrap_or(u32::MAX)
        };
        let made = Cache::builder().max_capacity(KEPT).weigher(weigh).build();
        Ok(Folder { files: files(folder)?, base, made })
    }

    /// The file of this name, if there is one. Made when it is asked for first, which takes a while for a large one.
    pub fn get(&self, name: &str) -> Result<Option<Made>, Arc<std::io::Error>> {
        let Some(path) = self.files.get(name) else { return Ok(None) };
        self.made.try_get_with(name.to_owned(), || self.make(name, path)).map(Some)
    }

    fn make(&self, name: &str, path: &Path) -> std::io::Result<Made> {
        let (kind, shrinks) = kind(name);
        let mut content = std::fs::read(path)?;
        let mut policy = moved::policy(&[]);
        // What another version of ours moves elsewhere has the same name.
        let mut is_lasting = is_lasting(name);
        if shrinks && let Ok(text) = std::str::from_utf8(&content) {
            let original = text;
            let text = moved::moved(name, original, &self.base);
            is_lasting &= text == original;
            if kind.starts_with("text/html") {
                policy = moved::policy(&moved::inline_scripts(&text));
            }
            content = text.into_bytes();
        }
        let tag = Sha256::digest(&content).iter().take(12).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // a String takes everything
            text
        });
        let bytes = if shrinks { zipped(&content)? } else { content };
        Ok(Made { bytes: bytes.into(), is_zipped: shrinks, tag, kind, is_lasting, policy })
    }
}

fn zipped(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut zip = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::default());
    zip.write_all(content)?;
    zip.finish()
}

/// All files below a folder but those that are hidden; links lead nowhere.
fn files(folder: &Path) -> std::io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![(String::new(), folder.to_owned())];
    while let Some((above, folder)) = waiting.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) if !name.starts_with('.') => format!("{above}{name}"),
                _ => continue,
            };
            let found = entry.file_type()?;
            if found.is_dir() {
                waiting.push((format!("{name}/"), entry.path()));
            } else if found.is_file() {
                files.insert(name, entry.path());
            }
            if files.len() + waiting.len() > MOST_FILES {
                return Err(std::io::Error::other("it holds more files than a viewer has"));
            }
        }
    }
    Ok(files)
}

/// The content type of a file, and whether zipping makes it smaller.
fn kind(name: &str) -> (&'static str, bool) {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => ("text/html; charset=utf-8", true),
        Some("js" | "mjs") => ("text/javascript; charset=utf-8", true),
        Some("css") => ("text/css; charset=utf-8", true),
        Some("json" | "jsonc" | "map") => ("application/json", true),
        Some("webmanifest") => ("application/manifest+json", true),
        Some("svg") => ("image/svg+xml", true),
        Some("wasm") => ("application/wasm", true),
        Some("xml") => ("application/xml", true),
        Some("txt") => ("text/plain; charset=utf-8", true),
        Some("png") => ("image/png", false),
        Some("jpg" | "jpeg") => ("image/jpeg", false),
        Some("gif") => ("image/gif", false),
        Some("webp") => ("image/webp", false),
        Some("ico") => ("image/x-icon", false),
        Some("woff") => ("font/woff", false),
        Some("woff2") => ("font/woff2", false),
        Some("ttf") => ("font/ttf", true),
        _ => ("application/octet-stream", false),
    }
}

/// Whether a part of the name is a hash: `app.bundle.0f6159c501addfe9.js`.
fn is_lasting(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    let is_hash = |part: &str| part.len() >= 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    last.split('.').any(is_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_whose_name_has_a_hash_is_kept_for_ever() {
        for lasting in
            ["app.bundle.0f6159c501addfe9.js", "0ddf166f7a343eda.wasm", "a/100.cb02411ce321d4e4.js"]
        {
            assert!(is_lasting(lasting), "{lasting}");
        }
        for other in ["index.html", "app.bundle.css", "1602.css", "cb02411ce321d4e4/app.js", "abcdef.js"] {
            assert!(!is_lasting(other), "{other}");
        }
    }

    #[test]
    fn only_what_was_found_below_the_folder_is_opened() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("dist");
        std::fs::create_dir_all(folder.join("assets")).unwrap();
        for (name, text) in [
            ("dist/index.html", "<p>"),
            ("dist/assets/a.svg", "<svg/>"),
            ("dist/.env", "x"),
            ("secret.js", "x"),
        ] {
            std::fs::write(outer.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(outer.path().join("secret.js"), folder.join("link.js")).unwrap();
        let viewer = Folder::open(&folder).unwrap();
        for name in ["index.html", "assets/a.svg"] {
            assert!(viewer.get(name).unwrap().is_some(), "{name}");
        }
        for name in [".env", "link.js", "../secret.js", "assets/../../secret.js", "assets", "", "/etc/passwd"]
        {
            assert!(viewer.get(name).unwrap().is_none(), "{name}");
        }
    }

    #[test]
    fn a_folder_without_the_page_is_no_viewer() {
        let empty = tempfile::tempdir().unwrap();
        assert!(Folder::open(empty.path()).is_err());
    }
}
