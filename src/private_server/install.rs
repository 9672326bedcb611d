//! Makes the data folder of a new server, wholly or not at all.

use super::program::{Kind, Program};
use super::{Error, Layout, file, read_from};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes the system tables where there are none yet. They are made in a folder of another name, which is
/// renamed when it is whole, so that a folder that was cut off is never used.
pub(super) fn install(program: &Program, layout: &Layout, log: &File) -> Result<(), Error> {
    if layout.data.exists() {
        return Ok(());
    }
    let new = layout.folder.join("data.new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|err| file("remove", &new, err))?;
    }
    let begin = layout.log.metadata().map_or(0, |found| found.len());
    let failed = |reason: String| Error::Install { folder: layout.folder.clone(), reason };
    let mut command = match (program.kind, &program.installer) {
        (Kind::MySql, _) => mysql(program, layout, &new),
        (Kind::MariaDb, Some(installer)) => mariadb(program, installer, layout, &new)?,
        (Kind::MariaDb, None) => return Err(Error::NotInstalled),
    };
    let output = |log: &File| log.try_clone().map_err(|err| file("write", &layout.log, err));
    command.stdin(Stdio::null()).stdout(output(log)?).stderr(output(log)?);
    let status = command.status().map_err(|err| failed(format!("{}: {err}", program.path.display())))?;
    if !status.success() {
        let text = read_from(&layout.log, begin);
        let reason = super::program::reason(&text, program, &layout.folder);
        return Err(failed(format!(
            "{} (see {})",
            reason.unwrap_or_else(|| status.to_string()),
            layout.log.display()
        )));
    }
    // The tables were written without waiting for the disk; they must be there when the name says so.
    // SAFETY: sync has no preconditions and cannot fail.
    unsafe { libc::sync() };
    fs::rename(&new, &layout.data).map_err(|err| file("rename", &new, err))?;
    File::open(&layout.folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|err| file("write", &layout.folder, err))
}

fn mysql(program: &Program, layout: &Layout, new: &Path) -> Command {
    let mut command = Command::new(&program.path);
    command.args(["--no-defaults", "--initialize-insecure", "--secure-file-priv=NULL"]);
    command.arg(option("--datadir=", new)).arg(option("--tmpdir=", &layout.tmp)).args(as_root());
    command
}

/// `mariadb-install-db` cannot take a path with a space in it, and where it is told that the user is root it changes
/// files of the system. So it gets a plain relative path, and a program that puts in the real one.
fn mariadb(program: &Program, installer: &Path, layout: &Layout, new: &Path) -> Result<Command, Error> {
    let bootstrap = layout.folder.join("bootstrap");
    let mut script = b"#!/bin/sh\nexec ".to_vec();
    script.extend(quoted(&program.path));
    script.extend(b" \"$@\" --innodb-log-file-size=32M --datadir=");
    script.extend(quoted(new));
    // A server that starts clears away the temporary tables of all others that share its folder for them.
    script.extend(b" --tmpdir=");
    script.extend(quoted(&layout.tmp));
    if let Some(argument) = as_root() {
        script.extend(format!(" {argument}").as_bytes());
    }
    script.push(b'\n');
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(&bootstrap)
        .and_then(|mut file| file.write_all(&script))
        .map_err(|err| file("write", &bootstrap, err))?;
    let mut command = Command::new(installer);
    command
        .current_dir(&layout.folder)
        .env("MYSQLD_BOOTSTRAP", "./bootstrap")
        .args(["--no-defaults", "--datadir=data.new", "--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--skip-name-resolve", "--force"]);
    Ok(command)
}

/// Servers refuse to run as root unless told to. Whoever runs filmroom as root has decided that.
pub(super) fn as_root() -> Option<&'static str> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    (unsafe { libc::geteuid() } == 0).then_some("--user=root")
}

pub(super) fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// As one word for a shell.
fn quoted(path: &Path) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}
