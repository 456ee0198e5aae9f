//! Any octets as packets of a broker: reading never panics, what it gives lies inside of the packet, and a packet of which
//! the end is missing is never longer than the octets say.
#![no_main]

use fingerpost_link::packet::{Packet, length, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    while let Ok(Some((whole, header))) = length(rest) {
        assert!((2..=5).contains(&header) && whole >= header);
        let Some((packet, after)) = rest.split_at_checked(whole) else {
            // Whatever follows, the length stays what it is.
            assert_eq!(length(&[rest, &[0xFF]].concat()), Ok(Some((whole, header))));
            return;
        };
        let body = &packet[header..];
        if let Ok(Packet::Publish(message)) = parse(packet[0], body) {
            assert!(!message.topic.is_empty() && message.id != Some(0));
            assert!(body.ends_with(message.payload));
            assert!(body[2..].starts_with(message.topic.as_bytes()));
            assert!(message.topic.len() + message.payload.len() + 3 <= body.len());
        }
        rest = after;
    }
});
