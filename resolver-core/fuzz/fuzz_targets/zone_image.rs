//! Any octets as the image of a zone (the checksum is added, or nothing would ever be read): reading never panics, and
//! what was read has no octet too many. A view that takes it makes an image which reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolver_core::View;
use resolver_core::image::{Image, ImageWriter, MAX_HEAD};
use resolver_core::records::{Memory, ZoneSlot};
use resolver_core::wire::Name;
use sha2::{Digest as _, Sha256};

fuzz_target!(|input: &[u8]| {
    let apex: Name = "example.org".parse().expect("is a name");
    let octets = [input, &Sha256::digest(input)].concat();
    let Ok(image) = Image::read(&octets, &apex) else { return };
    assert_eq!(Image::apex_of(&octets), Some(apex.clone()));

    let (mut cells, mut index) = (vec![[0; 24]; 4_096], vec![[0; 4]; 256]);
    let mut zones = [const { ZoneSlot::EMPTY }; 1];
    let mut view = View::new(Memory { cells: &mut cells, index: &mut index, zones: &mut zones }, 0);
    let zone = view.add_zone(&apex).expect("there is room for one");
    // RRsets that are too many, or of a type that no zone holds, are the store's to refuse.
    if view.load(zone, image.rrsets(), image.position).is_err() {
        return;
    }
    let mut writer = ImageWriter::new(&view, zone).expect("it has a state");
    let (mut again, mut room) = (Vec::new(), vec![0; octets.len().max(MAX_HEAD)]);
    loop {
        let copied = writer.copy(&view, 3, &mut room).expect("nothing changes, and one RRset fits");
        writer.account(&room[..copied.len]);
        again.extend_from_slice(&room[..copied.len]);
        if copied.is_last {
            break;
        }
    }
    let checksum = writer.finish().expect("nothing changed");
    again.extend_from_slice(&checksum);
    let read = Image::read(&again, &apex).expect("it was just made");
    assert_eq!(read.position, image.position);
    // Removals, and all but the last of an owner and type, are not kept.
    if read.rrset_count == image.rrset_count {
        assert_eq!(again.len(), octets.len());
    }
});
