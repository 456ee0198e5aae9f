//! Flash that loses its power at any word of any operation; what is found afterwards is the old state or the new one.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::vec;
use std::vec::Vec;

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use resolver_core::View;
use resolver_core::feed::{Digest, Position};
use resolver_core::image::Image;
use resolver_core::records::{Change, Memory, Rdatas, ZoneId, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};

use crate::{
    Blocking, Counters, Error, MappedFlash, MemoryFlash, Progress, Region, Saving, SlotRegion, Slots, Values,
};

/// NOR flash with words of `W` and sectors of `S` octets, whose power fails after so many words.
#[derive(Clone)]
struct Flash<const W: usize, const S: usize> {
    octets: Vec<u8>,
    /// Offsets of words that were cut off: reading them fails, where there is an error-correcting code.
    torn: Vec<usize>,
    has_code: bool,
    /// Words that can be written or erased until the power fails.
    power: usize,
    /// How torn words and sectors look.
    random: u64,
    /// Words from this offset on keep nothing: they are worn out.
    worn_from: usize,
    /// Words written and erased.
    used: usize,
    erased: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Power,
    Code,
}

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const W: usize, const S: usize> Flash<W, S> {
    fn new(capacity: usize, content: u8) -> Self {
        let (torn, erased) = (Vec::new(), Vec::new());
        let octets = vec![content; capacity];
        let (power, worn_from) = (usize::MAX, usize::MAX);
        Self { octets, torn, has_code: false, power, random: 1, worn_from, used: 0, erased }
    }

    /// As it is found when the power is back.
    fn restarted(&self) -> Self {
        Self { power: usize::MAX, used: 0, ..self.clone() }
    }

    fn with_power(&self, words: usize, seed: u64, has_code: bool) -> Self {
        Self { power: words, random: seed, has_code, used: 0, ..self.clone() }
    }

    fn spend(&mut self) -> Result<(), Fault> {
        self.used += 1;
        self.power = self.power.checked_sub(1).ok_or(Fault::Power)?;
        Ok(())
    }

    fn any(&mut self) -> u8 {
        // A linear congruential generator does.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as u8
    }
}

impl<const W: usize, const S: usize> ErrorType for Flash<W, S> {
    type Error = Fault;
}

impl<const W: usize, const S: usize> ReadNorFlash for Flash<W, S> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Fault> {
        let offset = offset as usize;
        if self.power == 0 {
            return Err(Fault::Power);
        }
        if self.has_code && self.torn.iter().any(|word| word + W > offset && *word < offset + out.len()) {
            return Err(Fault::Code);
        }
        out.copy_from_slice(&self.octets[offset..offset + out.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.octets.len()
    }
}

impl<const W: usize, const S: usize> NorFlash for Flash<W, S> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = S;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        assert!((from as usize).is_multiple_of(S) && (to as usize).is_multiple_of(S) && from < to);
        self.erased.push(from);
        // A sector loses its content in no order: each word of it is as it was, blank, or anything.
        for at in (from as usize..to as usize).step_by(W) {
            if let Err(fault) = self.spend() {
                for at in (at..to as usize).step_by(W) {
                    let look = self.any() % 3;
                    if look > 0 {
                        for index in at..at + W {
                            self.octets[index] =
                                if look == 1 { 0xFF } else { self.octets[index] | self.any() };
                        }
                        self.torn.push(at);
                    }
                }
                return Err(fault);
            }
            self.octets[at..at + W].fill(0xFF);
            self.torn.retain(|word| *word != at);
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Fault> {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(W) && octets.len().is_multiple_of(W));
        for (index, word) in octets.chunks(W).enumerate() {
            let at = offset + index * W;
            // An STM32H7 takes no word twice. A torn one may look blank.
            let is_blank = self.octets[at..at + W].iter().all(|octet| *octet == 0xFF);
            assert!(is_blank, "the word at {at} is written twice");
            if let Err(fault) = self.spend() {
                // Each bit may or may not be there; sometimes none is, sometimes all are.
                let look = self.any() % 4;
                for (kept, octet) in (at..).zip(word) {
                    self.octets[kept] = match look {
                        0 => 0xFF,
                        1 => *octet,
                        _ => octet | self.any(),
                    };
                }
                if look != 1 {
                    self.torn.push(at);
                }
                return Err(fault);
            }
            if at < self.worn_from {
                self.octets[at..at + W].copy_from_slice(word);
            }
        }
        Ok(())
    }
}

impl<const W: usize, const S: usize> MappedFlash for Flash<W, S> {
    fn mapped(&self) -> &[u8] {
        &self.octets
    }
}

/// Ways in which a word may look that was cut off, for each word.
const SEEDS: u64 = 3;

/// No future here ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the flash of the tests never waits"),
    }
}

fn names() -> [Name; 2] {
    ["example.org", "example.net"].map(|name| name.parse().unwrap())
}

/// A view with two zones, and a state in those that are given hosts.
fn view(states: [Option<(u64, u8)>; 2]) -> (View<'static>, [ZoneId; 2]) {
    let zones: Vec<ZoneSlot> = (0..4).map(|_| ZoneSlot::EMPTY).collect();
    let memory =
        Memory { cells: vec![[0; 24]; 500].leak(), index: vec![[0; 4]; 100].leak(), zones: zones.leak() };
    let mut view = View::new(memory, 1);
    let ids = names().map(|name| view.add_zone(&name).unwrap());
    for (id, state) in ids.into_iter().zip(states) {
        if let Some((serial, hosts)) = state {
            fill(&mut view, id, serial, hosts);
        }
    }
    (view, ids)
}

fn fill(view: &mut View<'_>, zone: ZoneId, serial: u64, hosts: u8) {
    let content: Vec<([u8; 2], [u8; 6])> =
        (0..hosts).map(|host| ([1, b'a' + host], [0, 4, 192, 0, serial as u8, host])).collect();
    let changes = content.iter().map(|(owner, rdatas)| Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype::A,
        ttl: 300,
        rdatas: Rdatas::from_wire(Rtype::A, rdatas).unwrap(),
    });
    view.load(zone, changes, Position { epoch: 1, serial }).unwrap();
}

fn state(view: &View<'_>, zone: ZoneId) -> (Option<Position>, Digest) {
    (view.position(zone), view.store().digest(zone))
}

type Outcome = Result<Position, Error<Fault>>;

fn save<const W: usize, const S: usize>(
    slots: &mut Slots,
    flash: &mut Flash<W, S>,
    view: &View<'_>,
    zone: ZoneId,
) -> Outcome {
    let mut buffer = [0; 400];
    let mut saving = Saving::new(slots, flash, zone, &names(), &mut buffer)?;
    loop {
        saving.fill::<Flash<W, S>>(view)?;
        if let Progress::Saved(position) = now(saving.flush(slots, flash))? {
            return Ok(position);
        }
    }
}

/// What a node that starts with this flash serves.
fn found<const W: usize, const S: usize>(
    flash: &mut Flash<W, S>,
    region: SlotRegion,
) -> [(Option<Position>, Digest); 2] {
    let slots = now(Slots::open(flash, region)).unwrap();
    let (mut view, ids) = view([None, None]);
    for (name, id) in names().iter().zip(ids) {
        let image = slots.images(flash, name).find_map(|octets| Image::read(octets, name).ok());
        if let Some(image) = image {
            view.load(id, image.rrsets(), image.position).unwrap();
        }
    }
    ids.map(|id| state(&view, id))
}

/// Saves a second state of the first zone and cuts the power at every word of it.
fn cut_everywhere<const W: usize, const S: usize>(slot: u32, fresh: u8, has_code: bool) {
    let region = SlotRegion { offset: S as u32, slot, count: 3 };
    let capacity = region.region().end() as usize;
    let (before, ids) = view([Some((1, 5)), Some((7, 3))]);
    let (after, _) = view([Some((2, 6)), None]);
    let mut flash = Flash::<W, S>::new(capacity, fresh);
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    // Three savings: the next one writes over an image that is out of date.
    for zone in [ids[0], ids[1], ids[0]] {
        save(&mut slots, &mut flash, &before, zone).unwrap();
    }
    let old = ids.map(|id| state(&before, id));
    let new = [state(&after, ids[0]), old[1]];
    assert_eq!(found(&mut flash, region), old);

    let mut whole = flash.restarted();
    save(&mut now(Slots::open(&mut whole, region)).unwrap(), &mut whole, &after, ids[0]).unwrap();
    assert_eq!(found(&mut whole, region), new);
    let words = whole.used;
    let mut kept = [0, 0];
    for (words, seed) in (0..=words).flat_map(|words| (1..=SEEDS).map(move |seed| (words, seed))) {
        let mut flash = flash.with_power(words, seed * 7_919 + words as u64, has_code);
        let cut = now(Slots::open(&mut flash, region))
            .and_then(|mut slots| save(&mut slots, &mut flash, &after, ids[0]));
        assert!(cut.is_err(), "the last word is read back, for which there is no power");
        let mut flash = flash.restarted();
        let now_found = found(&mut flash, region);
        assert!(now_found == old || now_found == new, "cut after {words} words: {now_found:?}");
        kept[usize::from(now_found == new)] += 1;
        // And it goes on from there.
        let mut slots = now(Slots::open(&mut flash, region)).unwrap();
        assert!((3..=4).contains(&slots.sequence), "a head that was cut off counts: {}", slots.sequence);
        save(&mut slots, &mut flash, &after, ids[0]).unwrap();
        assert_eq!(found(&mut flash, region), new, "after a cut after {words} words");
    }
    // The last word decides.
    assert!(kept[0] > 0 && kept[1] > 0, "{kept:?}");
}

#[test]
fn a_cut_at_any_word_leaves_the_old_state_or_the_new() {
    // Words and sectors as small as chips have them, erased or full of zeros or of anything at first.
    cut_everywhere::<4, 512>(1_024, 0xFF, false);
    cut_everywhere::<4, 512>(1_024, 0x00, false);
    cut_everywhere::<1, 256>(512, 0xA5, false);
}

#[test]
fn words_with_an_error_correcting_code_may_be_cut_as_well() {
    cut_everywhere::<32, 1_024>(1_024, 0xFF, true);
    cut_everywhere::<8, 512>(1_024, 0xFF, true);
}

#[test]
fn slots_wear_alike_and_keep_what_is_newest() {
    const SECTOR: usize = 1_024;
    let region = SlotRegion { offset: 0, slot: SECTOR as u32, count: 4 };
    let mut flash = Flash::<4, SECTOR>::new(4 * SECTOR, 0xFF);
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    let (resting, ids) = view([None, Some((7, 3))]);
    save(&mut slots, &mut flash, &resting, ids[1]).unwrap();
    for serial in 1..=60 {
        let (view, ids) = view([Some((serial, 2)), None]);
        save(&mut slots, &mut flash, &view, ids[0]).unwrap();
        let here = found(&mut flash, region);
        assert_eq!(here, [state(&view, ids[0]), state(&resting, ids[1])]);
    }
    // One slot keeps the resting zone; the others take turns.
    let counts: Vec<usize> = (0..4)
        .map(|slot| flash.erased.iter().filter(|from| **from == slot * SECTOR as u32).count())
        .collect();
    assert_eq!(counts, [1, 20, 20, 20]);
}

#[test]
fn a_damaged_image_gives_way_to_the_one_before() {
    let region = SlotRegion { offset: 0, slot: 1_024, count: 3 };
    let mut flash = Flash::<4, 1_024>::new(3 * 1_024, 0xFF);
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    let (older, ids) = view([Some((1, 3)), None]);
    let (newer, _) = view([Some((2, 4)), None]);
    save(&mut slots, &mut flash, &older, ids[0]).unwrap();
    save(&mut slots, &mut flash, &newer, ids[0]).unwrap();
    assert_eq!(found(&mut flash, region)[0], state(&newer, ids[0]));
    let good = flash.clone();
    // Erasing raises bits: half done, it must not make the older one the newer.
    flash.octets[8] |= 0x40;
    assert_eq!(found(&mut flash, region)[0], state(&newer, ids[0]));
    flash.octets[1_024 + 300] ^= 1;
    assert_eq!(found(&mut flash, region)[0].0, None);
    let mut flash = good.clone();
    flash.octets[1_024 + 300] ^= 1;
    assert_eq!(found(&mut flash, region)[0], state(&older, ids[0]));
    // A word that cannot be read would stop the processor: such an image is not looked at.
    let mut flash = Flash { has_code: true, torn: vec![1_024 + 300], ..good };
    let slots = now(Slots::open(&mut flash, region)).unwrap();
    assert_eq!(slots.images(&flash, &names()[0]).count(), 1);
    assert_eq!(found(&mut flash, region)[0], state(&older, ids[0]));
}

#[test]
fn worn_out_flash_is_told_and_costs_nothing_that_is_kept() {
    let region = SlotRegion { offset: 0, slot: 1_024, count: 3 };
    let mut flash = Flash::<4, 1_024>::new(3 * 1_024, 0xFF);
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    let (view_now, ids) = view([Some((1, 3)), None]);
    save(&mut slots, &mut flash, &view_now, ids[0]).unwrap();
    save(&mut slots, &mut flash, &view_now, ids[0]).unwrap();
    flash.worn_from = 2 * 1_024;
    let (later, _) = view([Some((2, 3)), None]);
    assert!(matches!(save(&mut slots, &mut flash, &later, ids[0]), Err(Error::Differs { .. })));
    assert_eq!(found(&mut flash, region)[0], state(&view_now, ids[0]));
    // The next attempt goes to another slot.
    save(&mut slots, &mut flash, &later, ids[0]).unwrap();
    assert_eq!(found(&mut flash, region)[0], state(&later, ids[0]));

    let region = Region { offset: 0, length: 512 };
    let mut flash = Flash::<4, 256>::new(512, 0xFF);
    let mut counters = now(Counters::open(&mut flash, region)).unwrap();
    // The first record goes to the second sector, the ninth to the first, which is then full with the sixteenth.
    for boots in 1..=16 {
        now(counters.store(&mut flash, Values { boots, incarnation: 0 })).unwrap();
    }
    flash.worn_from = 256;
    let boots = 16;
    for _ in 0..20 {
        let result = now(counters.store(&mut flash, Values { boots: boots + 1, incarnation: 0 }));
        assert!(matches!(result, Err(Error::Differs { .. })), "{result:?}");
        assert_eq!(now(Counters::open(&mut flash, region)).unwrap().values().boots, boots);
    }
}

#[test]
fn a_thousand_rrsets_fit_the_smallest_slot_and_take_short_steps() {
    let board = &resolver_core::provision::layout::STM32H743_NUCLEO;
    let mut memory = vec![0xFF; board.capacity as usize];
    let mut flash = MemoryFlash::mapped(&mut memory);
    let zones: Vec<ZoneSlot> = (0..2).map(|_| ZoneSlot::EMPTY).collect();
    let (cells, index) = (vec![[0; 24]; 8_000].leak(), vec![[0; 4]; 1_000].leak());
    let mut view = View::new(Memory { cells, index, zones: zones.leak() }, 1);
    let apex = names()[0].clone();
    let zone = view.add_zone(&apex).unwrap();
    let owners: Vec<[u8; 9]> = (0..1_000)
        .map(|host: u16| {
            let mut owner = *b"\x08hostxxxx";
            for (digit, place) in owner[5..].iter_mut().enumerate() {
                *place = b'0' + (host / 10u16.pow(digit as u32) % 10) as u8;
            }
            owner
        })
        .collect();
    // Texts of 64 octets: long for what a board serves.
    let rdatas = [&[0, 65, 64][..], &[b'x'; 64]].concat();
    let changes = owners.iter().map(|owner| Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype::TXT,
        ttl: 300,
        rdatas: Rdatas::from_wire(Rtype::TXT, &rdatas).unwrap(),
    });
    view.load(zone, changes, Position { epoch: 1, serial: 1 }).unwrap();
    let mut slots = now(Slots::open(&mut flash, board.state)).unwrap();
    let mut buffer = [0; 4_096];
    let mut saving = Saving::new(&slots, &flash, zone, &names(), &mut buffer).unwrap();
    let mut steps = 0;
    while matches!(now(saving.flush(&mut slots, &mut flash)), Ok(Progress::More)) {
        saving.fill::<Blocking<MemoryFlash<'_>>>(&view).unwrap();
        steps += 1;
    }
    let image = Image::read(slots.images(&flash, &apex).next().unwrap(), &apex).unwrap();
    assert_eq!(image.rrset_count, 1_000);
    // 32 sectors of this flash, and 90 KB of image in pieces.
    assert!((50..120).contains(&steps), "{steps}");
}

#[test]
fn what_does_not_fit_is_said() {
    let (large, ids) = view([Some((1, 26)), Some((1, 1))]);
    let mut flash = Flash::<4, 512>::new(4 * 512, 0xFF);
    let region = SlotRegion { offset: 0, slot: 512, count: 4 };
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    assert_eq!(save(&mut slots, &mut flash, &large, ids[0]), Err(Error::TooLarge { room: 256 }));
    save(&mut slots, &mut flash, &large, ids[1]).unwrap();
    // As many slots as zones: none is free once each has its zone.
    let mut slots = now(Slots::open(&mut flash, SlotRegion { count: 1, ..region })).unwrap();
    let (small, _) = view([None, Some((2, 2))]);
    save(&mut slots, &mut flash, &small, ids[1]).unwrap();
    assert_eq!(save(&mut slots, &mut flash, &small, ids[1]), Err(Error::NoSlot));
    assert!(matches!(now(Slots::open(&mut flash, SlotRegion { count: 5, ..region })), Err(Error::Layout)));
    assert!(matches!(now(Slots::open(&mut flash, SlotRegion { slot: 600, ..region })), Err(Error::Layout)));
    let mut buffer = [0; 100];
    let saving = Saving::new(&slots, &flash, ids[0], &[], &mut buffer);
    assert!(matches!(saving, Err(Error::Buffer { needed }) if needed > 300));
}

#[test]
fn a_zone_that_never_rests_is_asked_to() {
    let region = SlotRegion { offset: 0, slot: 1_024, count: 3 };
    let mut flash = Flash::<4, 1_024>::new(3 * 1_024, 0xFF);
    let mut slots = now(Slots::open(&mut flash, region)).unwrap();
    let mut buffer = [0; 400];
    let (first, ids) = view([Some((1, 9)), None]);
    let mut saving = Saving::new(&slots, &flash, ids[0], &names(), &mut buffer).unwrap();
    let (mut serial, mut latest) = (1, first);
    let saved = loop {
        saving.fill::<Flash<4, 1_024>>(&latest).unwrap();
        if let Progress::Saved(position) = now(saving.flush(&mut slots, &mut flash)).unwrap() {
            break position;
        }
        if !saving.wants_rest() {
            serial += 1;
            latest = view([Some((serial, 9)), None]).0;
        }
    };
    assert_eq!(saved, Position { epoch: 1, serial });
    assert!(serial > 3, "it was patient");
    assert_eq!(found(&mut flash, region)[0], state(&latest, ids[0]));
}

/// Counts on through sector changes and cuts the power at every word of every record.
fn count_and_cut<const W: usize, const S: usize>(fresh: u8, has_code: bool) {
    let region = Region { offset: S as u32, length: 2 * S as u32 };
    let mut flash = Flash::<W, S>::new(3 * S, fresh);
    flash.has_code = has_code;
    let (mut stored, mut seed) = (Values::default(), 1);
    for _ in 0..40 {
        let next = Values { boots: stored.boots + 1, incarnation: stored.incarnation + stored.boots % 3 };
        for power in 0.. {
            seed += 1;
            let mut cut = flash.with_power(power, seed, has_code);
            let mut counters = match now(Counters::open(&mut cut, region)) {
                Ok(counters) => counters,
                Err(Error::Flash(Fault::Power)) => continue,
                other => panic!("{:?}", other.err()),
            };
            assert_eq!(counters.values(), stored);
            let result = now(counters.store(&mut cut, next));
            let mut after = cut.restarted();
            let found = now(Counters::open(&mut after, region)).unwrap().values();
            match result {
                Ok(()) => {
                    assert_eq!(found, next);
                    flash = after;
                    break;
                }
                Err(Error::Flash(Fault::Power) | Error::Differs { .. }) => {
                    assert!(found == stored || found == next, "{found:?} after {stored:?}");
                    if found == stored && seed % 2 == 0 {
                        // Cuts follow upon cuts.
                        flash = after;
                    }
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        stored = next;
    }
    assert_eq!(stored.boots, 40);
}

#[test]
fn counters_never_go_back() {
    count_and_cut::<4, 256>(0xFF, false);
    count_and_cut::<4, 256>(0x00, false);
    count_and_cut::<1, 128>(0x5A, false);
    count_and_cut::<32, 256>(0xFF, true);
    let region = Region { offset: 0, length: 8_192 };
    let mut memory = vec![0; 8_192];
    let mut flash = MemoryFlash::mapped(&mut memory);
    let mut counters = now(Counters::open(&mut flash, region)).unwrap();
    now(counters.store(&mut flash, Values { boots: 5, incarnation: 2 })).unwrap();
    let back = Values { boots: 6, incarnation: 1 };
    assert_eq!(now(counters.store(&mut flash, back)), Err(Error::Backwards));
    assert_eq!(now(Counters::open(&mut flash, region)).unwrap().values().boots, 5);
    let short = Region { offset: 0, length: 4_096 };
    assert!(matches!(now(Counters::open(&mut flash, short)), Err(Error::Layout)));
}

#[test]
fn unreadable_counters_are_not_begun_anew() {
    let region = Region { offset: 0, length: 512 };
    let mut flash = Flash::<32, 256>::new(512, 0xFF);
    let mut counters = now(Counters::open(&mut flash, region)).unwrap();
    now(counters.store(&mut flash, Values { boots: 1, incarnation: 0 })).unwrap();
    flash.has_code = true;
    flash.torn = (0..512).step_by(32).collect();
    assert_eq!(now(Counters::open(&mut flash, region)).err(), Some(Error::Flash(Fault::Code)));
}
