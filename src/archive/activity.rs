//! What is happening now: associations that are sending, and studies that have just changed. For the page's
//! "receiving now" line and for its server-sent events; nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

/// Shared by everything that receives and everything that shows. Cheap to clone.
#[derive(Clone)]
pub struct Activity {
    inner: Arc<Inner>,
}

struct Inner {
    live: Mutex<BTreeMap<u64, Live>>,
    next: std::sync::atomic::AtomicU64,
    events: broadcast::Sender<Event>,
}

/// Something a page that is open may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Instances of this study were committed.
    Stored {
        /// The study's Study Instance UID.
        study_instance_uid: String,
    },
    /// The set of sending associations, or what they have sent, has changed.
    Receiving,
}

/// An association that has stored at least one instance and is still open.
#[derive(Debug, Clone)]
pub struct Live {
    /// Calling AE title.
    pub calling_ae_title: String,
    /// Its IP address.
    pub address: String,
    /// Instances acknowledged in this association.
    pub instances: u64,
    /// Study Instance UID of the last of them.
    pub study_instance_uid: String,
}

/// One association's entry; dropping it removes the entry.
pub struct Receiving {
    activity: Activity,
    id: u64,
    calling_ae_title: String,
    address: String,
}

impl Default for Activity {
    fn default() -> Self {
        let (events, _) = broadcast::channel(256);
        let inner = Inner { live: Mutex::default(), next: Default::default(), events };
        Activity { inner: Arc::new(inner) }
    }
}

impl Activity {
    /// Registers an association; it shows once it has stored something.
    pub fn begin(&self, calling_ae_title: &str, address: &str) -> Receiving {
        let id = self.inner.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Receiving {
            activity: self.clone(),
            id,
            calling_ae_title: calling_ae_title.to_owned(),
            address: address.to_owned(),
        }
    }

    /// The associations that are sending, oldest first.
    pub fn live(&self) -> Vec<Live> {
        self.lock().values().cloned().collect()
    }

    /// Events from now on. A slow listener that misses some gets `Lagged` and reads the page again.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Tells the listeners. That nobody listens is no error.
    pub fn tell(&self, event: Event) {
        let _ = self.inner.events.send(event); // Err means only that no page is open
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Live>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiving {
    /// Counts one acknowledged instance.
    pub fn stored(&self, study_instance_uid: &str) {
        let mut live = self.activity.lock();
        let entry = live.entry(self.id).or_insert_with(|| Live {
            calling_ae_title: self.calling_ae_title.clone(),
            address: self.address.clone(),
            instances: 0,
            study_instance_uid: String::new(),
        });
        entry.instances += 1;
        if entry.study_instance_uid != study_instance_uid {
            entry.study_instance_uid = study_instance_uid.to_owned();
        }
        drop(live);
        self.activity.tell(Event::Receiving);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.activity.lock().remove(&self.id).is_some() {
            self.activity.tell(Event::Receiving);
        }
    }
}
