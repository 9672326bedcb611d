//! Which server program is installed, and what its log means.

use super::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The two families; their programs share names but not files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MariaDb,
    MySql,
}

/// A server program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub path: PathBuf,
    pub kind: Kind,
    /// `mariadb-install-db`, which MySQL has no need of
    pub installer: Option<PathBuf>,
}

/// The PATH, and where packages put servers that are not meant to be started by hand.
pub(super) fn usual_places() -> Vec<PathBuf> {
    const USUAL: [&str; 14] = [
        "/usr/sbin",
        "/usr/bin",
        "/usr/libexec",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/local/libexec",
        "/usr/local/mysql/bin",
        "/usr/local/mariadb/bin",
        "/opt/homebrew/bin",
        "/opt/homebrew/opt/mariadb/bin",
        "/opt/homebrew/opt/mysql/bin",
        "/usr/local/opt/mariadb/bin",
        "/usr/local/opt/mysql/bin",
        "/opt/local/libexec",
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(USUAL.map(PathBuf::from)).collect()
}

/// The program to run on this data: of the kind that made it, or MariaDB before MySQL where there is none yet,
/// because it starts faster and is smaller.
pub(super) fn choose(search: &[PathBuf], data: &Path) -> Result<Program, Error> {
    let made_by = if data.join("aria_log_control").exists() {
        Some(Kind::MariaDb)
    } else if data.join("mysql.ibd").exists() {
        Some(Kind::MySql)
    } else {
        None
    };
    let mut found_another = false;
    for name in ["mariadbd", "mysqld"] {
        for path in search.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()) {
            let Some(kind) = kind(&path) else { continue };
            if made_by.is_some_and(|made_by| made_by != kind) {
                found_another = true;
                continue;
            }
            let installer = find_installer(&path, search);
            if kind == Kind::MySql || made_by.is_some() || installer.is_some() {
                return Ok(Program { path, kind, installer });
            }
        }
    }
    match made_by {
        Some(kind) if found_another => {
            let made_by = if kind == Kind::MariaDb { "MariaDB" } else { "MySQL" };
            Err(Error::OtherKind { folder: data.into(), made_by })
        }
        _ => Err(Error::NotInstalled),
    }
}

/// `mysqld` is often a link to MariaDB, so the name does not tell.
fn kind(program: &Path) -> Option<Kind> {
    let asked =
        Command::new(program).args(["--no-defaults", "--version"]).stdin(Stdio::null()).output().ok()?;
    let says = String::from_utf8_lossy(&asked.stdout).into_owned();
    match asked.status.success() {
        true if says.contains("MariaDB") => Some(Kind::MariaDb),
        true => Some(Kind::MySql),
        false => None,
    }
}

fn find_installer(program: &Path, search: &[PathBuf]) -> Option<PathBuf> {
    let base = program.parent().and_then(Path::parent);
    let beside = base.map(|base| [base.join("bin"), base.join("scripts")]).into_iter().flatten();
    let folders: Vec<PathBuf> = beside.chain(search.iter().cloned()).collect();
    ["mariadb-install-db", "mysql_install_db"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

/// What the log of a server that did not start comes down to, and what to do about it.
pub(super) fn reason(log: &str, program: &Program, folder: &Path) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if says(&["No space left", "Errcode: 28", "error number 28", "OS errno 28", "Disk is full"]) {
        return Some(format!("the disk that holds {} is full", folder.display()));
    }
    if says(&["Permission denied", "Errcode: 13", "OS errno 13", "error number 13"]) {
        let name = program.path.file_name().unwrap_or_default().to_string_lossy();
        let profile = PathBuf::from(format!("/etc/apparmor.d/usr.sbin.{name}"));
        let folder = folder.display();
        return Some(if profile.exists() {
            format!(
                "AppArmor keeps {name} out of {folder}: add the lines '{folder}/ r,' and '{folder}/** rwk,' to \
                 /etc/apparmor.d/local/usr.sbin.{name} and run systemctl reload apparmor, or install mariadb-server-core"
            )
        } else {
            format!("it may not read or write below {folder}: give the folder to the user who runs filmroom")
        });
    }
    if says(&["Unable to lock", "is already in use", "Another process with pid"]) {
        return Some(format!("another server is at work in {}", folder.display()));
    }
    if says(&["Read-only file system", "Errcode: 30", "OS errno 30"]) {
        return Some(format!("the disk that holds {} is read-only", folder.display()));
    }
    let line = log.lines().find(|line| line.contains("ERROR")).or_else(|| log.lines().next_back())?;
    let said =
        line.split_once("ERROR").map_or(line, |(_, said)| said).trim_start_matches([']', ':', ' ']).trim();
    Some(said.trim_end_matches('.').to_owned()).filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str) -> Option<String> {
        let program = Program { path: "/usr/sbin/no-such".into(), kind: Kind::MariaDb, installer: None };
        reason(log, &program, Path::new("/data/mysql"))
    }

    #[test]
    fn a_log_comes_down_to_what_to_do() {
        let full = "2026 0 [ERROR] InnoDB: Error number 28 means 'No space left on device'";
        assert_eq!(told(full).as_deref(), Some("the disk that holds /data/mysql is full"));
        let denied = "[ERROR] mariadbd: Can't create file './x' (Errcode: 13 \"Permission denied\")";
        assert!(told(denied).is_some_and(|says| says.contains("who runs filmroom")));
        let locked = "2026 0 [ERROR] InnoDB: Unable to lock ./ibdata1 error: 11";
        assert_eq!(told(locked).as_deref(), Some("another server is at work in /data/mysql"));
    }

    #[test]
    fn an_unknown_complaint_is_passed_on() {
        let log = "2026 0 [Note] Starting\n2026 0 [ERROR] unknown variable 'x=1'.\n2026 0 [ERROR] Aborting\n";
        assert_eq!(told(log).as_deref(), Some("unknown variable 'x=1'"));
        assert_eq!(told(""), None);
    }
}
