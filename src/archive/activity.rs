//! What is happening now: the associations that are open, and studies that have just changed. For the pages that show
//! them and for their server-sent events; nothing of it is kept.
//!
//! An association is present here for as long as it is open, and can be ended from here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, broadcast, watch};

use crate::dicom::service::Service;

/// For this long after a message an association is still said to do what that message was about: between two instances
/// of a series nobody is idle.
const SETTLES: Duration = Duration::from_millis(400);

/// Shared by everything that receives and everything that shows. Cheap to clone.
#[derive(Clone)]
pub struct Activity {
    inner: Arc<Inner>,
}

struct Inner {
    open: Mutex<BTreeMap<u64, Arc<Entry>>>,
    next: AtomicU64,
    events: broadcast::Sender<Event>,
    changes: watch::Sender<()>,
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

/// Who asked for an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requestor {
    /// Calling AE title.
    pub ae_title: String,
    /// Its IP address.
    pub address: String,
    /// Whether it is connected by TLS.
    pub is_tls: bool,
}

/// An association that is open, as it was when this was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// Its number; no other has or had it, also not before the last start.
    pub id: u64,
    /// Who asked for it.
    pub requestor: Requestor,
    /// What it is about now; nothing: we wait for its next message.
    pub service: Option<Service>,
    /// What has gone over it.
    pub counts: Counts,
    /// Since when it is open, UTC.
    pub since: DateTime<Utc>,
    /// Somebody has ended it, and it is about to go.
    pub is_ending: bool,
}

/// What has gone over an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Instances it stored here.
    pub stored: u64,
    /// Matches of its queries that it was sent.
    pub matches: u64,
    /// Instances that were sent because it asked for them, to itself or to another AE.
    pub sent: u64,
}

/// An association's presence; dropping it takes it from the list.
pub struct Presence {
    activity: Activity,
    entry: Arc<Entry>,
}

struct Entry {
    id: u64,
    requestor: Requestor,
    since: DateTime<Utc>,
    state: Mutex<State>,
    /// Somebody wants its end.
    abort: Notify,
}

#[derive(Default)]
struct State {
    service: Option<Service>,
    /// Since when nothing is asked of us; none while something is.
    idle_since: Option<Instant>,
    counts: Counts,
    study_instance_uid: String,
    /// What is being done has to be done to its end.
    is_guarded: bool,
    is_ending: bool,
}

impl Default for Activity {
    fn default() -> Self {
        let (events, _) = broadcast::channel(256);
        let (changes, _) = watch::channel(());
        // A page from before a restart must not name an association of after it.
        let first = u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default();
        let inner = Inner { open: Mutex::default(), next: AtomicU64::new(first), events, changes };
        Activity { inner: Arc::new(inner) }
    }
}

impl Activity {
    /// Registers an association that was accepted.
    pub fn begin(&self, requestor: Requestor) -> Presence {
        let entry = Arc::new(Entry {
            id: self.inner.next.fetch_add(1, Ordering::Relaxed),
            requestor,
            since: Utc::now(),
            state: Mutex::default(),
            abort: Notify::new(),
        });
        self.lock().insert(entry.id, entry.clone());
        self.changed();
        Presence { activity: self.clone(), entry }
    }

    /// The associations that are sending, oldest first.
    pub fn live(&self) -> Vec<Live> {
        self.lock().values().filter_map(|entry| entry.live()).collect()
    }

    /// The associations that are open, oldest first.
    pub fn associations(&self) -> Vec<Association> {
        self.lock().values().map(|entry| entry.association()).collect()
    }

    /// The association with this number, if it is open.
    pub fn association(&self, id: u64) -> Option<Association> {
        self.lock().get(&id).map(|entry| entry.association())
    }

    /// Ends an association by A-ABORT. False where there is none with this number any more. It is gone when it is not
    /// among [`Activity::associations`]: at once, unless it is just putting an instance into the archive.
    pub fn abort(&self, id: u64) -> bool {
        let Some(entry) = self.lock().get(&id).cloned() else { return false };
        entry.state().is_ending = true;
        entry.abort.notify_one();
        self.changed();
        true
    }

    /// Completes when the association with this number is gone. Cancel-safe.
    pub async fn gone(&self, id: u64) {
        let mut changes = self.changes();
        // The sender lives as long as this does.
        while self.association(id).is_some() && changes.changed().await.is_ok() {}
    }

    /// An association was refused, or something of it was.
    pub fn refused(&self) {
        self.changed();
    }

    /// Events from now on. A slow listener that misses some gets `Lagged` and reads the page again.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Is marked as changed with each change of [`Activity::associations`], and where one was refused.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    /// Tells the listeners. That nobody listens is no error.
    pub fn tell(&self, event: Event) {
        let _ = self.inner.events.send(event); // Err means only that no page is open
    }

    fn changed(&self) {
        self.inner.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Live> {
        let state = self.state();
        (state.counts.stored > 0).then(|| Live {
            calling_ae_title: self.requestor.ae_title.clone(),
            address: self.requestor.address.clone(),
            instances: state.counts.stored,
            study_instance_uid: state.study_instance_uid.clone(),
        })
    }

    fn association(&self) -> Association {
        let state = self.state();
        let is_idle = state.idle_since.is_some_and(|since| since.elapsed() >= SETTLES);
        Association {
            id: self.id,
            requestor: self.requestor.clone(),
            service: state.service.filter(|_| !is_idle),
            counts: state.counts,
            since: self.since,
            is_ending: state.is_ending,
        }
    }
}

impl Presence {
    /// A message has come that is about this.
    pub fn serves(&self, service: Service) {
        let mut state = self.entry.state();
        (state.service, state.idle_since) = (Some(service), None);
        drop(state);
        self.activity.changed();
    }

    /// That is answered, and the next message is waited for.
    pub fn waits(&self) {
        self.entry.state().idle_since = Some(Instant::now());
        self.activity.changed();
    }

    /// Counts one instance that it stored here and that is acknowledged.
    pub fn stored(&self, study_instance_uid: &str) {
        let mut state = self.entry.state();
        state.counts.stored += 1;
        if state.study_instance_uid != study_instance_uid {
            state.study_instance_uid = study_instance_uid.to_owned();
        }
        drop(state);
        self.activity.changed();
        self.activity.tell(Event::Receiving);
    }

    /// Counts one match that it was sent.
    pub fn matched(&self, count: u64) {
        self.entry.state().counts.matches += count;
        self.activity.changed();
    }

    /// Counts one instance that was sent because it asked for it.
    pub fn sent(&self) {
        self.entry.state().counts.sent += 1;
        self.activity.changed();
    }

    /// Completes when somebody wants its end. Cancel-safe.
    pub async fn aborted(&self) {
        loop {
            self.entry.abort.notified().await;
            if !self.entry.state().is_guarded {
                return;
            }
        }
    }

    /// Does something to its end before the association can be ended from here: what is put into the archive is there
    /// as a whole, or not at all.
    pub async fn guarded<T>(&self, work: impl Future<Output = T>) -> T {
        self.entry.state().is_guarded = true;
        let done = work.await;
        let mut state = self.entry.state();
        state.is_guarded = false;
        if state.is_ending {
            self.entry.abort.notify_one();
        }
        done
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.activity.lock().remove(&self.entry.id);
        self.activity.changed();
        if self.entry.state().counts.stored > 0 {
            self.activity.tell(Event::Receiving);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requestor(ae_title: &str) -> Requestor {
        Requestor { ae_title: ae_title.into(), address: "10.0.0.7".into(), is_tls: false }
    }

    #[test]
    fn an_association_is_listed_with_what_it_does_until_it_ends() {
        let activity = Activity::default();
        let ct = activity.begin(requestor("CT01"));
        let viewer = activity.begin(requestor("VIEWER"));
        ct.serves(Service::Store);
        ct.stored("1.2");
        ct.waits();
        viewer.serves(Service::Find);
        viewer.matched(1);
        viewer.sent();

        let listed = activity.associations();
        let shown: Vec<_> = listed.iter().map(|one| (one.requestor.ae_title.as_str(), one.service)).collect();
        assert_eq!(
            shown,
            [("CT01", Some(Service::Store)), ("VIEWER", Some(Service::Find))],
            "between two messages nobody is idle"
        );
        let counts: Vec<Counts> = listed.iter().map(|one| one.counts).collect();
        assert_eq!(
            counts,
            [Counts { stored: 1, ..Counts::default() }, Counts { matches: 1, sent: 1, ..Counts::default() }]
        );
        assert_eq!(activity.live().len(), 1, "who stores is receiving, who asks is not");
        std::thread::sleep(SETTLES);
        assert_eq!(activity.associations().first().and_then(|ct| ct.service), None);

        drop(ct);
        assert_eq!(activity.associations().len(), 1);
        assert!(activity.live().is_empty());
    }

    #[tokio::test]
    async fn who_is_ended_hears_of_it_and_nobody_else() {
        let activity = Activity::default();
        let (one, other) = (activity.begin(requestor("CT01")), activity.begin(requestor("CT02")));
        assert!(activity.abort(one.entry.id));
        one.aborted().await;
        let waits = tokio::time::timeout(Duration::from_millis(20), other.aborted()).await;
        assert!(waits.is_err(), "nobody asked for the end of this one");
        let id = one.entry.id;
        drop(one);
        activity.gone(id).await;
        assert!(!activity.abort(id), "it is over already");
    }

    #[tokio::test]
    async fn what_is_guarded_is_done_to_its_end() {
        let activity = Activity::default();
        let presence = activity.begin(requestor("CT01"));
        let id = presence.entry.id;
        let stored = presence.guarded(async {
            activity.abort(id);
            let ended = tokio::time::timeout(Duration::from_millis(20), presence.aborted()).await;
            assert!(ended.is_err(), "not in the middle of it");
            true
        });
        assert!(stored.await);
        presence.aborted().await;
    }
}
