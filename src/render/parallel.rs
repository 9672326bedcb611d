//! Parts of a picture on several processors.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

/// More threads for one picture would take the processors from the next one.
const MOST_THREADS: usize = 4;
/// A thread is not worth its start for fewer parts.
const PARTS_A_THREAD: usize = 3;

static THREADS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |count| count.get()).min(MOST_THREADS));

/// What `part` makes of each number below `count`, in order, or one of its errors.
pub fn each<T: Send, E: Send>(
    count: usize,
    part: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let threads = (count / PARTS_A_THREAD).clamp(1, *THREADS);
    if threads == 1 {
        return (0..count).map(part).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(done);
            }
            match part(number) {
                Ok(made) => done.push((number, made)),
                Err(err) => {
                    // The others find nothing left to do.
                    next.store(count, Ordering::Relaxed);
                    return Err(err);
                }
            }
        }
    };
    let mut done = scope(|scope| {
        // A helper that cannot be started leaves its parts to the others.
        let helpers: Vec<_> =
            (1..threads).filter_map(|_| Builder::new().spawn_scoped(scope, run).ok()).collect();
        let mut done = run()?;
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(done)
    })?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order() {
        for count in [0, 1, 2, 7, 1000] {
            let squares = each(count, |number| Ok::<_, ()>(number * number)).unwrap();
            assert_eq!(squares, (0..count).map(|number| number * number).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let asked = AtomicUsize::new(0);
        let made = each(100_000, |number| {
            asked.fetch_add(1, Ordering::Relaxed);
            if number == 5 { Err("five") } else { Ok(()) }
        });
        assert_eq!(made, Err("five"));
        assert!(asked.into_inner() < 100_000);
    }
}
