//! The load: C-STORE SCUs that cost as little as they can.
//!
//! Each association is a thread with blocking writes. A data set goes out with `writev` from where it lies, in P-DATA
//! PDUs of the size the acceptor asked for, and the next one when the response is there (no asynchronous operations,
//! as modalities do).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;

use super::data::Instance;
use super::sink::{Keep, swallow};
use super::wire::{Association, Command, Purpose, context_id, element, field, number, uid};

/// What a run of senders saw.
#[derive(Default, Clone)]
pub struct Sent {
    /// Instances answered with Success.
    pub stored: u64,
    /// Instances answered otherwise, or not at all.
    pub failed: u64,
    /// Bytes of the data sets that were stored.
    pub bytes: u64,
    /// From the first byte of a request to its response, in order of length.
    pub latencies: Vec<Duration>,
    /// From the first request to the last response.
    pub elapsed: Duration,
}

impl Sent {
    /// Instances stored in a second.
    pub fn per_second(&self) -> f64 {
        self.stored as f64 / self.elapsed.as_secs_f64()
    }

    /// Megabytes stored in a second.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// Sends to `acceptor`, on as many associations as there are lists of instances.
pub fn send<I>(acceptor: SocketAddr, called: &str, loads: Vec<I>) -> io::Result<Sent>
where
    I: Iterator<Item = Instance> + Send,
{
    let ready = Barrier::new(loads.len() + 1);
    let (results, elapsed) = std::thread::scope(|scope| {
        let senders: Vec<_> = loads
            .into_iter()
            .map(|load| {
                scope.spawn(|| {
                    let mut instances = load.peekable();
                    let class = instances.peek().map_or(uids::CT_IMAGE_STORAGE, |first| first.sop_class_uid);
                    let association = Association::open(acceptor, called, &[Purpose::Scu(class)]);
                    ready.wait();
                    association.and_then(|association| store(association, instances))
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        let results: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        (results, start.elapsed())
    });
    let mut sent = Sent { elapsed, ..Sent::default() };
    for result in results {
        let one = result.map_err(|_| io::Error::other("a sender panicked"))??;
        sent.stored += one.stored;
        sent.failed += one.failed;
        sent.bytes += one.bytes;
        sent.latencies.extend(one.latencies);
    }
    sent.latencies.sort();
    Ok(sent)
}

/// Sends these instances, one after the other.
fn store(mut association: Association, instances: impl Iterator<Item = Instance>) -> io::Result<Sent> {
    let mut sent = Sent::default();
    for (number, instance) in instances.enumerate() {
        let start = Instant::now();
        let data_set = [instance.header.as_slice(), instance.pixels.as_slice()];
        association.send(context_id(0), &store_command(number as u16, &instance), &data_set)?;
        let answer = association.next_message(|_| Ok(()))?;
        sent.latencies.push(start.elapsed());
        match answer.and_then(|answer| answer.command.status()) {
            Some(0) => {
                sent.stored += 1;
                sent.bytes += instance.len() as u64;
            }
            _ => sent.failed += 1,
        }
    }
    association.release()?;
    Ok(sent)
}

/// C-STORE-RQ, PS3.7 9.3.1.1.
fn store_command(message_id: u16, instance: &Instance) -> Command {
    Command::new(&[
        (element::AFFECTED_SOP_CLASS_UID, uid(instance.sop_class_uid)),
        (element::COMMAND_FIELD, number(field::C_STORE_RQ)),
        (element::MESSAGE_ID, number(message_id)),
        (element::PRIORITY, number(0)),
        (element::COMMAND_DATA_SET_TYPE, number(0)),
        (element::AFFECTED_SOP_INSTANCE_UID, uid(&instance.sop_instance_uid)),
    ])
}

/// Sends `loads` to a sink of our own, which does no more than `keep` for each association.
pub fn send_to_sink<I, K>(loads: Vec<I>, keep: impl Fn(usize) -> io::Result<K>) -> io::Result<Sent>
where
    I: Iterator<Item = Instance> + Send,
    K: Keep,
{
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let keepers = (0..loads.len()).map(keep).collect::<io::Result<Vec<K>>>()?;
    std::thread::scope(|scope| {
        let sinks: Vec<_> = keepers
            .into_iter()
            .map(|keeper| {
                let listener = listener.try_clone();
                scope.spawn(move || swallow(listener?.accept()?.0, keeper))
            })
            .collect();
        let sent = send(address, "SINK", loads);
        for sink in sinks {
            sink.join().map_err(|_| io::Error::other("the sink panicked"))??;
        }
        sent
    })
}
