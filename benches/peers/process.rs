//! What the kernel says of a process, and ending it.

use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

/// CPU seconds of a process and of its children so far.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let mut seconds = 0.0;
    for pid in with_children(pid)? {
        // A child that has just ended is counted in its parent.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = [11, 12].iter().filter_map(|&field| fields.get(field)?.parse::<f64>().ok());
        // SAFETY: asks for a number of the system.
        seconds += ticks.sum::<f64>() / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    }
    Ok(seconds)
}

/// Resident bytes of a process and of its children.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    bytes_of(pid, "VmRSS:")
}

/// Resident bytes of a process and of its children at most, each since its start or [`forget_peak`].
pub fn peak_resident_bytes(pid: u32) -> io::Result<u64> {
    bytes_of(pid, "VmHWM:")
}

/// Begins anew with the peak of a process and its children.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    for pid in with_children(pid)? {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    }
    Ok(())
}

fn bytes_of(pid: u32, field: &str) -> io::Result<u64> {
    let mut bytes = 0;
    for pid in with_children(pid)? {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        bytes += kilobytes.unwrap_or(0) * 1024;
    }
    Ok(bytes)
}

fn with_children(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = vec![pid];
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            all.extend(with_children(child).unwrap_or_default());
        }
    }
    Ok(all)
}

/// Asks a process to end, and ends it where it has not within a minute.
pub fn end(child: &mut Child) {
    // SAFETY: the child has not been waited for, so its number is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > Duration::from_secs(60) {
            // It may have ended by itself just now.
            drop(child.kill());
            drop(child.wait());
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
