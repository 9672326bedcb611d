//! The published files believe they are at the root of a site. Here they are moved to `/ohif/`, as they are sent, and told
//! what they may load.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::ROOT;

/// Folders that scripts name without asking where they are themselves.
const NAMED_IN_SCRIPTS: [&str; 1] = ["dicom-microscopy-viewer/"];

/// Where the files of this page believe they are, such as `/`.
pub fn base(page: &str) -> &str {
    let given = page.split_once("PUBLIC_URL").and_then(|(_, rest)| {
        let rest = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (base, _) = rest.strip_prefix(quote)?.split_once(quote)?;
        Some(base)
    });
    given.filter(|base| base.starts_with('/') && base.ends_with('/')).unwrap_or("/")
}

/// The same file, at `/ohif/`.
pub fn moved(name: &str, text: &str, base: &str) -> String {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => page(text, base),
        Some("js" | "mjs") => script(text, base),
        Some("css") => style(text, base),
        Some("json" | "webmanifest") => {
            text.replace(&format!("\"src\": \"{base}"), &format!("\"src\": \"{ROOT}"))
        }
        _ => text.to_owned(),
    }
}

fn page(text: &str, base: &str) -> String {
    text.replace(&format!("=\"{base}"), &format!("=\"{ROOT}"))
        // Otherwise browsers ask for it without the cookie.
        .replace("rel=\"manifest\"", "rel=\"manifest\" crossorigin=\"use-credentials\"")
}

/// Everything a bundle loads, it looks for at its `p`.
fn script(text: &str, base: &str) -> String {
    let mut text = text.replace(&format!(".p = \"{base}\""), &format!(".p = \"{ROOT}\""));
    text = text.replace(&format!(".p=\"{base}\""), &format!(".p=\"{ROOT}\""));
    for folder in NAMED_IN_SCRIPTS {
        for quote in ['"', '\''] {
            text = text.replace(&format!("{quote}{base}{folder}"), &format!("{quote}{ROOT}{folder}"));
        }
    }
    text
}

fn style(text: &str, base: &str) -> String {
    let mut text = text.to_owned();
    for before in ["url(", "url(\"", "url('"] {
        text = text.replace(&format!("{before}{base}"), &format!("{before}{ROOT}"));
    }
    text
}

/// The scripts that stand in a page itself.
pub fn inline_scripts(page: &str) -> Vec<&str> {
    page.split("<script>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</script>"))
        .map(|(script, _)| script)
        .collect()
}

/// What a page of the viewer may load: everything from here, and nothing from elsewhere. It writes styles, makes code as
/// it goes (segmentations do not open without), and of the scripts that stand in pages it runs those that are published.
pub fn policy(inline_scripts: &[&str]) -> String {
    let hashes: String = inline_scripts
        .iter()
        .map(|script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes()))))
        .collect();
    format!(
        "default-src 'none'; \
         script-src 'self' 'unsafe-eval'{hashes}; \
         worker-src 'self' blob:; \
         style-src 'self' 'unsafe-inline'; \
         img-src 'self' blob: data:; \
         font-src 'self' data:; \
         media-src 'self' blob:; \
         object-src 'self' blob:; \
         frame-src 'self' blob:; \
         connect-src 'self' blob: data:; \
         manifest-src 'self'; \
         form-action 'self'; \
         frame-ancestors 'none'; \
         base-uri 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<script>window.PUBLIC_URL="/"</script><link rel="manifest" href="/manifest.json">
        <script defer src="/app.bundle.0f6159c501addfe9.js"></script><a href="https://ohif.org/">"#;

    #[test]
    fn a_page_says_where_its_files_believe_they_are() {
        assert_eq!(base(PAGE), "/");
        assert_eq!(base("window.PUBLIC_URL = '/viewer/';"), "/viewer/");
        for silent in ["", "PUBLIC_URL", "PUBLIC_URL=", "PUBLIC_URL=\"", "PUBLIC_URL=\"https://a/\""] {
            assert_eq!(base(silent), "/", "{silent}");
        }
    }

    #[test]
    fn files_are_moved_from_wherever_they_believe_they_are() {
        let page = moved("index.html", PAGE, "/");
        for part in [
            "PUBLIC_URL=\"/ohif/\"",
            "href=\"/ohif/manifest.json\"",
            "src=\"/ohif/app.bundle.0f6159c501addfe9.js\"",
            "href=\"https://ohif.org/\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(moved("a.js", "a.p = \"/\"; b.p=\"/\"", "/"), "a.p = \"/ohif/\"; b.p=\"/ohif/\"");
        assert_eq!(
            moved("a.js", "load('/dicom-microscopy-viewer/a.js')", "/"),
            "load('/ohif/dicom-microscopy-viewer/a.js')"
        );
        assert_eq!(moved("a.css", "url(/a.woff2) url(data:x)", "/"), "url(/ohif/a.woff2) url(data:x)");
        assert_eq!(moved("a.js", "a.p=\"/viewer/\"", "/viewer/"), "a.p=\"/ohif/\"");
        let there = "a.p=\"/ohif/\"";
        assert_eq!(moved("a.js", there, "/ohif/"), there);
    }

    #[test]
    fn a_page_may_run_its_own_inline_scripts_and_no_others() {
        let page = "<script>a()</script><script src=\"b.js\"></script><script>c()</script>";
        let inline = inline_scripts(page);
        assert_eq!(inline, ["a()", "c()"]);
        let policy = policy(&inline);
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert!(policy.contains("script-src 'self' 'unsafe-eval' 'sha256-"), "{policy}");
    }
}
