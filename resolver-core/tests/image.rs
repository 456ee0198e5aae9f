//! Images of zones: written in pieces of any size while other things happen, read back the same.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use resolver_core::feed::{Digest, Position};
use resolver_core::image::{CopyError, Image, ImageError, ImageWriter, MAX_HEAD, Schedule};
use resolver_core::records::{Change, Memory, Rdatas, ZoneId, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};
use resolver_core::{Instant, View};

const POSITION: Position = Position { epoch: 3, serial: 41 };

fn view() -> View<'static> {
    let zones: Vec<ZoneSlot> = (0..4).map(|_| ZoneSlot::EMPTY).collect();
    let memory =
        Memory { cells: vec![[0; 24]; 2_000].leak(), index: vec![[0; 4]; 500].leak(), zones: zones.leak() };
    View::new(memory, 7)
}

/// `hosts` owners with an A RRset and, every third, a TXT RRset of some size; the apex has one of each.
fn fill(view: &mut View<'_>, zone: ZoneId, hosts: u8, position: Position) {
    let text = |size: u8| [&[0, size + 1, size][..], &vec![b'x'; size.into()]].concat();
    let content: Vec<(Vec<u8>, Rtype, Vec<u8>)> = (0..hosts)
        .flat_map(|host| {
            let owner =
                if host == 0 { vec![] } else { vec![4, b'h', b'o', b'a' + host / 26, b'a' + host % 26] };
            let address = (owner.clone(), Rtype::A, vec![0, 4, 192, 0, 2, host]);
            let text = (host % 3 == 0).then(|| (owner, Rtype::TXT, text(host)));
            std::iter::once(address).chain(text)
        })
        .collect();
    let changes = content.iter().map(|(owner, rtype, rdatas)| Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: *rtype,
        ttl: 300,
        rdatas: Rdatas::from_wire(*rtype, rdatas).unwrap(),
    });
    view.load(zone, changes, position).unwrap();
}

/// The whole image, in pieces of at most `room` octets and `owners` owners.
fn image(view: &View<'_>, zone: ZoneId, owners: usize, room: usize) -> Result<Vec<u8>, CopyError> {
    let mut writer = ImageWriter::new(view, zone).unwrap();
    let (mut image, mut room) = (Vec::new(), vec![0; room]);
    loop {
        let copied = writer.copy(view, owners, &mut room)?;
        writer.account(&room[..copied.len]);
        image.extend_from_slice(&room[..copied.len]);
        if copied.is_last {
            image.extend_from_slice(&writer.finish()?);
            return Ok(image);
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn state(view: &View<'_>, zone: ZoneId) -> (Option<Position>, Digest, u64) {
    (view.position(zone), view.store().digest(zone), view.store().rrset_count(zone))
}

#[test]
fn the_size_of_pieces_does_not_matter() {
    let (mut view, apex) = (view(), name("example.org"));
    let zone = view.add_zone(&apex).unwrap();
    assert!(ImageWriter::new(&view, zone).is_none());
    fill(&mut view, zone, 60, POSITION);
    let whole = image(&view, zone, usize::MAX, 65_536).unwrap();
    // From one RRset a piece (the largest is 74 octets) upwards, so that pieces end within owners as well.
    for room in (74..400).step_by(13) {
        assert_eq!(image(&view, zone, 100, room.max(80)).unwrap(), whole);
    }
    assert_eq!(image(&view, zone, 1, 400).unwrap(), whole);
    assert_eq!(Image::apex_of(&whole), Some(apex.clone()));

    let mut restarted = self::view();
    let again = restarted.add_zone(&apex).unwrap();
    let read = Image::read(&whole, &apex).unwrap();
    assert_eq!((read.position, read.rrset_count), (POSITION, 80));
    restarted.load(again, read.rrsets(), read.position).unwrap();
    assert_eq!(state(&restarted, again), state(&view, zone));
}

#[test]
fn an_empty_zone_has_an_image() {
    let (mut view, apex) = (view(), Name::ROOT);
    let zone = view.add_zone(&apex).unwrap();
    view.load(zone, std::iter::empty(), POSITION).unwrap();
    let octets = image(&view, zone, 1, MAX_HEAD).unwrap();
    assert_eq!(Image::read(&octets, &apex).unwrap().rrset_count, 0);
}

#[test]
fn room_that_is_too_small_is_named() {
    let mut view = view();
    let zone = view.add_zone(&name("example.org")).unwrap();
    fill(&mut view, zone, 60, POSITION);
    assert_eq!(image(&view, zone, 100, 10), Err(CopyError::Room(8 + 4 + 8 + 32 + 8 + 1 + 13)));
    let Err(CopyError::Room(needed)) = image(&view, zone, 100, 75) else {
        panic!("75 octets are not enough")
    };
    assert!(image(&view, zone, 100, needed.max(80)).is_ok());
}

#[test]
fn a_change_meanwhile_ends_the_image() {
    let mut view = view();
    let (changing, other) = (name("example.org"), name("example.net"));
    let (changing, other) = (view.add_zone(&changing).unwrap(), view.add_zone(&other).unwrap());
    fill(&mut view, changing, 30, POSITION);
    fill(&mut view, other, 30, POSITION);
    let mut room = [0; 256];
    let mut writer = ImageWriter::new(&view, changing).unwrap();
    for _ in 0..3 {
        let copied = writer.copy(&view, 2, &mut room).unwrap();
        writer.account(&room[..copied.len]);
    }
    // A state of its own in another view stands for a later one: same zone, other content.
    let mut later = self::view();
    let zone = later.add_zone(&name("example.org")).unwrap();
    fill(&mut later, zone, 31, Position { serial: 42, ..POSITION });
    assert_eq!(writer.copy(&later, 2, &mut room), Err(CopyError::Changed));
    let mut same_position = self::view();
    let zone = same_position.add_zone(&name("example.org")).unwrap();
    fill(&mut same_position, zone, 31, POSITION);
    assert_eq!(writer.copy(&same_position, 2, &mut room), Err(CopyError::Changed));
    // What was not copied is missed at the end, whatever made it so.
    assert_eq!(writer.finish(), Err(CopyError::Changed));
}

#[test]
fn damage_anywhere_is_seen() {
    let (mut view, apex) = (view(), name("example.org"));
    let zone = view.add_zone(&apex).unwrap();
    fill(&mut view, zone, 10, POSITION);
    let good = image(&view, zone, 100, 1_000).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(Image::read(&bad, &apex).is_err(), "{at}");
        assert!(Image::read(&good[..at], &apex).is_err(), "{at}");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(Image::read(&longer, &apex).unwrap_err(), ImageError::Checksum);
    assert_eq!(Image::read(&good, &name("example.net")).unwrap_err(), ImageError::OtherZone);
}

/// Seconds after the start at which a zone is saved that serves serial `served(second)`.
fn saved_at(pause: u64, served: impl Fn(u64) -> Option<u64>) -> Vec<u64> {
    let position = |second| served(second).map(|serial| Position { epoch: 1, serial });
    let now = |second| Instant::from_micros(second * 1_000_000);
    let mut schedule = Schedule::new(Duration::from_secs(pause), position(0), now(0));
    let (mut saved, mut seconds) = (None, Vec::new());
    for second in 0..100 {
        if schedule.poll_due(position(second), saved, now(second)) {
            schedule.handle_attempt(now(second));
            saved = position(second);
            seconds.push(second);
        }
    }
    seconds
}

#[test]
fn a_state_is_saved_once_it_rests_and_then_a_pause_apart() {
    assert_eq!(saved_at(30, |_| None), []);
    // It comes at 10 s, and stays: saved when it has rested for 2 s.
    assert_eq!(saved_at(30, |second| (second >= 10).then_some(1)), [12]);
    // It never rests: the first one after ten seconds, or the pause if that is shorter, then one each pause.
    assert_eq!(saved_at(30, |second| Some(second + 1)), [10, 40, 70]);
    assert_eq!(saved_at(8, |second| Some(second + 1))[..3], [8, 16, 24]);
    // A second state soon after the first waits for the pause; one long after does not.
    assert_eq!(saved_at(30, |second| Some(if second < 5 { 1 } else { 2 })), [2, 32]);
    assert_eq!(saved_at(30, |second| Some(if second < 50 { 1 } else { 2 })), [2, 50]);
}
