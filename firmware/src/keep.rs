//! What outlives a power cut: zones are read from flash at the start, before there is any connection, and written to it
//! as they change, a bounded step at a time; starts are counted.

use core::fmt;
use core::future::pending;

use embassy_futures::select::Either;
use embassy_futures::yield_now;
use embassy_time::{Duration, Timer};
use embedded_storage::nor_flash::ErrorType;
use fingerpost_flash::{Blocking, Counters, Error, Progress, Saving, Slots, Values};
use heapless::Vec;
use resolver_core::View;
use resolver_core::feed::Position;
use resolver_core::image::{Image, Schedule};
use resolver_core::provision::limits::MAX_ZONES;
use resolver_core::records::ZoneId;
use resolver_core::wire::Name;

use crate::board::{LAYOUT, Mapped, Storage};
use crate::health::{self, Task, alive};
use crate::memory::SharedBuffer;
use crate::state::{State, now};

/// The flash and what lies in it.
pub(crate) struct Kept {
    flash: Flash,
    /// None where they cannot be used, which was told.
    slots: Option<Slots>,
    /// How often the board has started, this time included.
    pub(crate) boots: u64,
}

/// Each operation waits in a loop, so others get their turn after it.
type Flash = Blocking<Storage>;
type Fault = Error<<Storage as ErrorType>::Error>;

impl Kept {
    /// Looks through the flash, and counts this start.
    pub(crate) async fn open(storage: Storage) -> Self {
        let mut flash = Blocking::new(storage, Mapped::mapped);
        let boots = count_start(&mut flash).await.unwrap_or_else(|error| {
            log::error!("starts are not counted: {error}");
            0
        });
        let slots = Slots::open(&mut flash, LAYOUT.state).await;
        let slots = slots.map_err(|error| log::error!("no state is kept: {error}")).ok();
        Self { flash, slots, boots }
    }

    /// Fills `zone` with the newest state of it that is whole.
    pub(crate) fn restore(&self, view: &mut View<'static>, zone: ZoneId, apex: &Name) -> Option<Position> {
        for octets in self.slots.as_ref()?.images(&self.flash, apex) {
            match Image::read(octets, apex) {
                Ok(image) => match view.load(zone, image.rrsets(), image.position) {
                    Ok(()) => {
                        let Position { epoch, serial } = image.position;
                        log::info!(
                            "zone {apex}: serves {epoch}/{serial} as kept, {} RRsets",
                            image.rrset_count
                        );
                        return Some(image.position);
                    }
                    Err(error) => log::warn!("zone {apex}: the state that was kept does not fit: {error:?}"),
                },
                Err(error) => log::warn!("zone {apex}: a state that was kept is damaged: {error}"),
            }
        }
        None
    }
}

async fn count_start(flash: &mut Flash) -> Result<u64, Fault> {
    let mut counters = Counters::open(flash, LAYOUT.counters).await?;
    let Values { boots, incarnation } = counters.values();
    let boots = boots.saturating_add(1);
    counters.store(flash, Values { boots, incarnation }).await?;
    Ok(boots)
}

/// Writes zones as they change, for ever. `buffer`, which takes the largest RRset, is held while one is written.
#[embassy_executor::task]
pub(crate) async fn save(kept: Kept, state: &'static State, buffer: &'static SharedBuffer) -> ! {
    let Kept { mut flash, slots, .. } = kept;
    let Some(mut slots) = slots else {
        let Either::First(never) = alive(Task::Keep, pending()).await;
        return never;
    };
    let mut zones: Vec<Zone, MAX_ZONES> = state
        .feed
        .borrow()
        .zones()
        .map(|(_, id, _)| {
            let saved = state.view.borrow().position(id);
            Zone { id, saved, schedule: Schedule::new(PAUSE, saved, now()) }
        })
        .collect();
    loop {
        let Either::First(()) = alive(Task::Keep, Timer::after(LOOK)).await;
        for zone in &mut zones {
            let served = state.view.borrow().position(zone.id);
            if !zone.schedule.poll_due(served, zone.saved, now()) {
                continue;
            }
            zone.schedule.handle_attempt(now());
            let Either::First(mut room) = alive(Task::Keep, buffer.lock()).await;
            let result = save_zone(zone.id, &mut slots, &mut flash, state, &mut room[..]).await;
            drop(room);
            if state.rest.replace(false) {
                state.wake.signal(());
            }
            match result {
                Ok(position) => {
                    zone.saved = Some(position);
                    let Position { epoch, serial } = position;
                    log::info!("zone {}: kept {epoch}/{serial}", apex(state, zone.id));
                }
                Err(error) => log::warn!("zone {}: its state is not kept: {error}", apex(state, zone.id)),
            }
        }
    }
}

struct Zone {
    id: ZoneId,
    /// What is in flash.
    saved: Option<Position>,
    schedule: Schedule,
}

async fn save_zone(
    zone: ZoneId,
    slots: &mut Slots,
    flash: &mut Flash,
    state: &'static State,
    buffer: &mut [u8],
) -> Result<Position, Fault> {
    let mut saving = {
        let feed = state.feed.borrow();
        let followed: Vec<Name, MAX_ZONES> = feed.zones().map(|(apex, ..)| apex.clone()).collect();
        Saving::new(slots, flash, zone, &followed, buffer)?
    };
    loop {
        health::beat(Task::Keep);
        state.rest.set(saving.wants_rest());
        saving.fill::<Flash>(&state.view.borrow())?;
        if let Progress::Saved(position) = saving.flush(slots, flash).await? {
            return Ok(position);
        }
        yield_now().await;
    }
}

/// The name of `zone`.
fn apex(state: &State, zone: ZoneId) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{}", state.view.borrow().store().apex_name(zone)))
}

/// Between two looks at what changed.
const LOOK: Duration = Duration::from_secs(1);
/// Between two states of a zone that changes all the time. Slots wear alike, so a chip that bears 10,000 erasures and has
/// five slots bears three years of it.
const PAUSE: core::time::Duration = core::time::Duration::from_secs(30 * 60);
