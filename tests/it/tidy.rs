//! The rules of the source tree: who may name whom, where SQL stands, how long a file is. They are read off the
//! sources, so that a rule is broken on purpose or not at all.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::support::files_below;

/// A Rust file, taken apart.
struct Source {
    /// Below the root of the package.
    path: String,
    text: String,
    /// `text` with comments and the insides of literals as blanks, line by line the same.
    code: String,
    /// The literals that are texts, each with the line it begins in.
    strings: Vec<(usize, String)>,
    /// The first line of `mod tests`, or the line behind the last.
    tests_begin: usize,
}

impl Source {
    fn of(path: String, text: String) -> Source {
        let (code, strings) = lexed(&text);
        let lines: Vec<&str> = code.lines().collect();
        let tests = lines
            .windows(2)
            .position(|two| two[0].trim() == "#[cfg(test)]" && two[1].trim_start().starts_with("mod tests"));
        let is_test = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let tests_begin = if is_test { 0 } else { tests.map_or(usize::MAX, |line| line + 1) };
        Source { path, text, code, strings, tests_begin }
    }

    /// The top-level module: `web` for src/web/study.rs.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or("");
        below.split(['/', '.']).next().unwrap_or("")
    }

    /// The lines, counted from 1, in which the code names this path or word.
    fn naming<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let lines = self.code.lines().enumerate();
        lines.filter(move |(_, line)| names(line, name)).map(|(number, _)| number + 1)
    }

    /// The modules of this crate that the code names, each with its line: of `use crate::{a::b, c}` both.
    fn crate_names(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + "crate::".len()..];
            let paths = match rest.strip_prefix('{') {
                Some(group) => top_level(group),
                None => {
                    let end = rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len());
                    vec![rest[..end].to_owned()]
                }
            };
            found.extend(paths.into_iter().map(|path| (line, path)));
        }
        found
    }
}

/// What stands between the commas of a `use` group, up to its end, without the groups within.
fn top_level(group: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => paths.last_mut().expect("one").push(c),
            _ => {}
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a line holds `name` as a word of its own.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_word)
            && !line[at + name.len()..].chars().next().is_some_and(is_word)
    })
}

/// Blanks comments and the insides of literals, and collects the texts.
fn lexed(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(c) = rest.chars().next() {
        let before = code.chars().next_back();
        let (length, is_string) = match c {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (block_comment(rest), false),
            '"' => (quoted(rest), true),
            'r' if !before.is_some_and(is_word) || before == Some('b') => match raw(rest) {
                Some(length) => (length, true),
                None => (0, false),
            },
            '\'' => (character(rest), false),
            _ => (0, false),
        };
        if length == 0 {
            line += usize::from(c == '\n');
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (skipped, after) = rest.split_at(length);
        if is_string {
            strings.push((line, skipped.trim_matches(['r', '#', '"']).to_owned()));
        }
        line += skipped.matches('\n').count();
        code.extend(skipped.chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = after;
    }
    (code, strings)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    text[1 + hashes..].starts_with('"').then(|| {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = 2 + hashes;
        text[inside..].find(&end).map_or(text.len(), |at| inside + at + end.len())
    })
}

/// The length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(0, |at| 3 + at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The sources of the program.
fn program() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| read("src"));
    &SOURCES
}

/// The sources of the program and of its tests.
fn everything() -> impl Iterator<Item = &'static Source> {
    static TESTS: LazyLock<Vec<Source>> = LazyLock::new(|| read("tests"));
    program().iter().chain(TESTS.iter())
}

fn read(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let files: Vec<PathBuf> = files_below(&root.join(folder)).into_iter().filter(is_rust).collect();
    assert!(files.len() > 10, "{folder} is read");
    let source = |path: &PathBuf| {
        let below = path.strip_prefix(root).expect("below the root").display().to_string();
        Source::of(below, std::fs::read_to_string(path).expect("a text"))
    };
    files.iter().map(source).collect()
}

/// Fails with all that was found, a line each.
fn assert_none(rule: &str, found: impl IntoIterator<Item = String>) {
    let found = found.into_iter().fold(String::new(), |mut text, line| {
        writeln!(text, "  {line}").expect("a string takes it");
        text
    });
    assert!(found.is_empty(), "{rule}:\n{found}");
}

/// Which modules of the crate each module may name. What is not in the table may name nothing of the crate.
const MAY_NAME: [(&str, &str); 18] = [
    ("main", "cli"),
    ("lib", ""),
    ("cli", "archive cli codec config db demo dicom dimse people private_server server storage tls"),
    ("config", "db dicom dimse jobs tls"),
    ("server", "archive codec config db dicom dimse jobs people private_server storage tls web"),
    ("private_server", "db private_server"),
    ("demo", "demo dicom dimse"),
    ("people", "db dicom people"),
    ("web", "archive codec db dicom dimse people render tls web"),
    ("dimse", "archive db dicom dimse tls"),
    ("archive", "archive codec db dicom storage"),
    ("db", "db dicom tls"),
    ("storage", "dicom"),
    ("tls", "tls"),
    ("render", "codec dicom render"),
    ("codec", "codec dicom"),
    ("dicom", "dicom"),
    ("jobs", "archive db dicom dimse jobs"),
];

#[test]
fn each_module_names_only_those_below_it() {
    let sources = program();
    let found = sources.iter().flat_map(|source| {
        let module = source.module();
        let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).map_or("", |(_, allowed)| allowed);
        let allowed: Vec<&str> = allowed.split(' ').collect();
        let wrong = source.crate_names().into_iter().filter(|(_, path)| {
            let first = path.split("::").next().unwrap_or("");
            // What a macro writes for its users.
            !first.is_empty() && !allowed.contains(&first)
        });
        wrong.map(|(line, path)| format!("{}:{line}: {module} names {path}", source.path)).collect::<Vec<_>>()
    });
    assert_none("a module names what it must not know", found);
}

#[test]
fn the_standard_and_the_pixels_know_no_runtime_no_database_and_no_files() {
    const EVERYWHERE: [&str; 6] = ["tokio", "actix_web", "actix_rt", "mysql_async", "askama", "reqwest"];
    const PURE: [&str; 9] = [
        "std::fs",
        "fs::File",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "Utc::now",
    ];
    let found = program().iter().flat_map(|source| {
        let module = source.module().to_owned();
        let everywhere =
            EVERYWHERE.iter().filter(|_| ["dicom", "codec", "render"].contains(&module.as_str()));
        // The codecs that may crash run in processes of their own, so `codec` starts some.
        let pure = PURE.iter().filter(|_| ["dicom", "render"].contains(&module.as_str()));
        // Parts of one picture are drawn side by side, which its bytes do not show.
        let pure = pure.filter(|name| **name != "std::thread" || source.path != "src/render/parallel.rs");
        let wrong = everywhere.chain(pure).flat_map(|name| {
            let before_tests = source.naming(name).filter(|line| *line < source.tests_begin);
            before_tests.map(|line| format!("{}:{line}: {name}", source.path)).collect::<Vec<_>>()
        });
        wrong.collect::<Vec<_>>()
    });
    assert_none("dicom, codec and render are pure, and dicom reads from Read + Seek alone", found);
}

/// Whether a text is a statement, or a part of one that only SQL has.
fn is_sql(text: &str) -> bool {
    const BEGINNINGS: [&str; 12] = [
        "SELECT ",
        "INSERT INTO ",
        "INSERT IGNORE ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE DATABASE ",
        "ALTER TABLE ",
        "DROP ",
        "REPLACE INTO ",
        "TRUNCATE ",
        "SHOW ",
    ];
    const PARTS: [&str; 4] = [" ORDER BY ", " GROUP BY ", " WHERE ", " LIMIT ?"];
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        || PARTS.iter().any(|part| text.contains(part))
}

#[test]
fn sql_stands_in_db_alone() {
    // The private server is set up with statements before there is a schema: its accounts and its database.
    const SETS_UP: [&str; 1] = ["private_server"];
    let found = program().iter().flat_map(|source| {
        let elsewhere = source.module() != "db" && !SETS_UP.contains(&source.module());
        let strings = source
            .strings
            .iter()
            .filter(|(line, text)| elsewhere && *line < source.tests_begin && is_sql(text));
        let line = |text: &str| text.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        strings.map(|(at, text)| format!("{}:{at}: {}", source.path, line(text))).collect::<Vec<_>>()
    });
    assert_none("SQL stands in src/db and schema.sql alone", found);
}

#[test]
fn db_functions_never_begin_or_commit() {
    let sources = program();
    // The writer is what `archive` commits with.
    let functions = sources.iter().filter(|one| one.module() == "db" && one.path != "src/db/writer.rs");
    let found = functions.flat_map(|source| {
        let words = ["start_transaction", "TxOpts", "commit", "rollback"];
        let wrong = words.iter().flat_map(|word| {
            let lines = source.naming(word).filter(|line| *line < source.tests_begin);
            lines.map(|line| format!("{}:{line}: {word}", source.path)).collect::<Vec<_>>()
        });
        wrong.collect::<Vec<_>>()
    });
    assert_none("archive opens transactions, db functions take a connection", found);
}

#[test]
fn patients_studies_series_and_instances_are_asked_for_through_the_archive() {
    // Row types may be named; functions of these tables may not, so no call stands behind their names.
    const TABLES: [&str; 7] = ["patient", "study", "series", "instance", "frame", "ingest", "quarantine"];
    let found = program().iter().flat_map(|source| {
        if !["web", "dimse", "server", "cli", "demo", "jobs"].contains(&source.module()) {
            return Vec::new();
        }
        let imports = source.crate_names().into_iter().filter(|(_, path)| {
            let parts: Vec<&str> = path.split("::").collect();
            let is_type = |name: &&str| name.starts_with(char::is_uppercase);
            parts.first() == Some(&"db")
                && parts.get(1).is_some_and(|table| TABLES.contains(table))
                && parts.get(2).is_some_and(|name| !name.is_empty() && !is_type(name))
        });
        let mut wrong: Vec<String> =
            imports.map(|(line, path)| format!("{}:{line}: {path}", source.path)).collect();
        for table in TABLES {
            // `use crate::db::study;` or `use crate::db::study::{self, ...}` would make `study::find` possible.
            for import in [format!("db::{table};"), format!("db::{table}::{{self")] {
                let lines = source.code.lines().enumerate().filter(|(_, line)| line.contains(&import));
                wrong.extend(lines.map(|(line, _)| format!("{}:{}: {import}", source.path, line + 1)));
            }
        }
        wrong
    });
    assert_none("what is archived goes through `archive` alone", found);
}

#[test]
fn others_see_of_dimse_the_scu_and_what_the_settings_are_made_of() {
    // The listener is for the server; the two settings are for what reads the settings.
    let settings = ["dimse::Timeouts", "dimse::access::UnknownPeers"];
    let found = program().iter().flat_map(|source| {
        let module = source.module().to_owned();
        let wrong = source.crate_names().into_iter().filter(|(_, path)| {
            path.split("::").next() == Some("dimse")
                && module != "dimse"
                && !path.starts_with("dimse::scu")
                && !(["cli", "config"].contains(&module.as_str()) && settings.contains(&path.as_str()))
                && !(module == "server" && path.starts_with("dimse::listener"))
        });
        wrong.map(|(line, path)| format!("{}:{line}: {module} names {path}", source.path)).collect::<Vec<_>>()
    });
    assert_none("of dimse, others see scu", found);
}

#[test]
fn only_the_command_line_and_the_server_see_the_configuration() {
    let found = program().iter().flat_map(|source| {
        let may = ["main", "cli", "server", "config"].contains(&source.module());
        let named = source.crate_names().into_iter().filter(|(_, path)| !may && path.starts_with("config"));
        named.map(|(line, path)| format!("{}:{line}: {path}", source.path)).collect::<Vec<_>>()
    });
    assert_none("only main, cli and server see Config", found);
}

#[test]
fn no_module_is_a_drawer_for_everything() {
    const DRAWERS: [&str; 9] =
        ["utils", "util", "helpers", "helper", "common", "services", "models", "misc", "manager"];
    let found = everything().filter_map(|source| {
        let drawer = source.path.split(['/', '.']).find(|part| DRAWERS.contains(part))?.to_owned();
        Some(format!("{}: {drawer}", source.path))
    });
    assert_none("a module is called after what it is about", found);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["to", "do!"], ["unimple", "mented!"], ["db", "g!"], ["#[ig", "nore"], ["unrea", "chable!"]];
    let found = everything().flat_map(|source| {
        let wrong = words.iter().flat_map(|word| {
            let word = word.concat();
            let lines = source.code.lines().enumerate().filter(move |(_, line)| line.contains(&word));
            lines
                .map(|(line, text)| format!("{}:{}: {}", source.path, line + 1, text.trim()))
                .collect::<Vec<_>>()
        });
        wrong.collect::<Vec<_>>()
    });
    assert_none("no stub, no test that does not run", found);
}

#[test]
fn every_file_says_what_it_is_about_and_a_long_one_why_it_is_long() {
    let found = everything().filter_map(|source| {
        let head: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let lines = source.text.lines().count();
        if head.is_empty() {
            return Some(format!("{}:1: no `//!` line", source.path));
        }
        let says_why = head.iter().any(|line| line.contains("Longer than 500 lines because"));
        (lines > 500 && !says_why).then(|| format!("{}:1: {lines} lines", source.path))
    });
    assert_none("a file answers one question; past 500 lines it is split, or says why", found);
}

#[test]
fn a_trait_has_two_implementations() {
    let sources = program();
    let words = |line: &str| line.split(|c| !is_word(c)).map(str::to_owned).collect::<Vec<_>>();
    let is_trait = |words: &[String]| words.iter().position(|word| word == "trait").filter(|at| *at < 3);
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code.lines().enumerate() {
            let words = words(line.trim_start());
            let Some(name) = is_trait(&words).and_then(|at| words.get(at + 1)) else { continue };
            let implementations = sources.iter().flat_map(|source| source.code.lines()).filter(|line| {
                line.trim_start().starts_with("impl") && line.contains(&format!("{name} for "))
            });
            if implementations.count() < 2 {
                found.push(format!("{}:{}: trait {name}", source.path, number + 1));
            }
        }
    }
    assert_none("no trait until the second implementation exists", found);
}

#[test]
fn the_sources_are_taken_apart_as_the_compiler_does() {
    let text = "use crate::{a::b, c::{d, e}};\n// tokio \"no\n/* tokio /* x */ */ let s = \"SELECT 1 \\\" tokio\";\n\
                let l: &'a str = r#\"a \"tokio\" b\"#; let c = '\"'; let d = '\\''; tokio::spawn();\n";
    let source = Source::of("src/x.rs".into(), text.into());
    assert_eq!(source.naming("tokio").collect::<Vec<_>>(), [4]);
    let strings: Vec<usize> = source.strings.iter().map(|(line, _)| *line).collect();
    assert_eq!(strings, [3, 4]);
    assert!(is_sql(&source.strings[0].1));
    assert_eq!(source.crate_names(), [(1, "a::b".to_owned()), (1, "c::".to_owned())]);
    assert!(!is_sql("no study matches, and nothing is shown"));
    assert!(is_sql("\n   DELETE FROM\n peer"));
}
