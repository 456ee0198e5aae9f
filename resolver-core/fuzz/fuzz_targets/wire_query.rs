//! Any octets as a query: reading never panics, what was read is stable when it is written and read again,
//! and every record either expands to well-formed RDATA or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolver_core::wire::{Edns, Header, Name, Opcode, Query, QueryError, Rcode, Writer, rdata};

fuzz_target!(|message: &[u8]| {
    let query = match Query::read(message) {
        Ok(query) => query,
        Err(QueryError::Short) => return assert!(message.len() < Header::LEN),
        Err(QueryError::Response) => return,
        Err(QueryError::Malformed(header)) => return refuse(header, Rcode::FORMERR),
        Err(QueryError::Opcode(header)) => {
            refuse(header, Rcode::NOTIMP);
            let Ok(update) = Query::read_opcode(Opcode::UPDATE, message) else { return };
            update
        }
    };

    let mut counted = 0;
    for record in query.records(message) {
        let record = record.expect("a query's records were all walked");
        assert!(Name::from_wire(record.owner().as_wire()).is_ok());
        let mut out = [0; 1024];
        if let Ok(len) = record.expand_rdata(&mut out) {
            assert!(rdata::is_well_formed(record.rtype, &out[..len]));
        }
        counted += 1;
    }
    assert_eq!(counted, query.header.counts[1..].iter().map(|&count| usize::from(count)).sum::<usize>());

    let text = query.name.to_string();
    assert_eq!(text.parse::<Name>().expect("we wrote it").as_wire(), query.name.as_wire());

    let mut out = [0; 300];
    let mut writer =
        Writer::query(&mut out, query.header.id, &query.name, query.rtype, query.class).expect("it fits");
    if let Some(edns) = &query.edns {
        writer.opt(edns.udp_payload, edns, None).expect("it fits");
    }
    let len = writer.finish();
    let again = Query::read(&out[..len]).expect("we wrote it");
    assert_eq!(again.name.as_wire(), query.name.as_wire());
    assert_eq!((again.header.id, again.rtype, again.class), (query.header.id, query.rtype, query.class));
    assert_eq!(again.question_end, query.question_end);
    assert_eq!(again.edns, query.edns.map(|edns| Edns { version: 0, ..edns }));
});

fn refuse(header: Header, rcode: Rcode) {
    let mut out = [0; Header::LEN];
    let mut writer = Writer::header_only(&mut out, header).expect("a header fits");
    writer.set_rcode(rcode);
    writer.finish();
    let reply = Header::read(&out).expect("a header");
    assert!(reply.is_response() && reply.id == header.id && reply.counts == [0; 4]);
}
