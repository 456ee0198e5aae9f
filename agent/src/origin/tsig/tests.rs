//! TSIG against messages that BIND's nsupdate 9.18 signed, and against itself.

#![allow(clippy::unwrap_used)]

use resolver_core::wire::Opcode;

use super::*;

pub(crate) fn key(algorithm: Algorithm) -> Key {
    let secret = b"0123456789abcdef0123456789abcdef".to_vec();
    Key { name: "update.example".parse().unwrap(), algorithm, secret }
}

/// Signs a request as a client does.
pub(crate) fn sign_request(key: &Key, message: &mut Vec<u8>, time: u64) {
    sign_and_resize(key, message, time, key.algorithm.mac(&[], &[]).len());
}

/// Likewise, with a MAC of `octets`.
fn sign_and_resize(key: &Key, message: &mut Vec<u8>, time: u64, octets: usize) {
    let mut tsig = Tsig {
        key_name: key.name.clone(),
        algorithm: key.algorithm.wire(),
        time,
        fudge: MAX_FUDGE,
        mac: Vec::new(),
        original_id: id_of(message),
        error: 0,
        other: Vec::new(),
    };
    tsig.mac = key.algorithm.mac(&key.secret, &[message, &tsig.variables()]);
    tsig.mac.resize(octets, 0);
    tsig.append(message);
}

/// The error in the TSIG record of a response; checks its MAC, unless there is none.
pub(crate) fn verify_response(key: &Key, request_mac: &[u8], response: &[u8]) -> u16 {
    let frame = response_as_request(response);
    let query = Query::read_opcode(Opcode::UPDATE, &frame).or_else(|_| Query::read(&frame)).unwrap();
    let offset = query.tsig.unwrap();
    let tsig = Tsig::read(response, offset).unwrap();
    if !tsig.mac.is_empty() {
        let mut signed = response[..offset].to_vec();
        let additional = query.header.counts[3] - 1;
        signed[10..12].copy_from_slice(&additional.to_be_bytes());
        let prefix = (request_mac.len() as u16).to_be_bytes();
        let parts = [&prefix[..], request_mac, &signed, &tsig.variables()];
        assert_eq!(tsig.mac, key.algorithm.mac(&key.secret, &parts));
    }
    tsig.error
}

/// The MAC of a signed request.
pub(crate) fn mac_of(request: &[u8]) -> Vec<u8> {
    let query = Query::read_opcode(Opcode::UPDATE, request).or_else(|_| Query::read(request)).unwrap();
    Tsig::read(request, query.tsig.unwrap()).unwrap().mac
}

const VECTORS: [(Algorithm, &str); 4] = [
    (
        Algorithm::Sha256,
        "dad428000001000100010001076578616d706c65036f72670000060001036e6577c00c000100fe000000000000c01d000100010000003c\
         0004c000020906757064617465076578616d706c650000fa00ff00000000003d0b686d61632d7368613235360000006b036400012c0020\
         eca7225046cdd643a92077c02278e0af4272c4a308ef2ab8e9e883704a99656fdad400000000",
    ),
    (
        Algorithm::Sha384,
        "5f6128000001000100010001076578616d706c65036f72670000060001036e6577c00c000100fe000000000000c01d000100010000003c\
         0004c000020906757064617465076578616d706c650000fa00ff00000000004d0b686d61632d7368613338340000006b036401012c0030\
         fa2b8ba7ebb3c379b43655dec62d033f3bbd7cd7a927be5178b825b145a687575b86fbcdb23830dd487422359f40a9885f6100000000",
    ),
    (
        Algorithm::Sha512,
        "12b928000001000100010001076578616d706c65036f72670000060001036e6577c00c000100fe000000000000c01d000100010000003c\
         0004c000020906757064617465076578616d706c650000fa00ff00000000005d0b686d61632d7368613531320000006b036402012c0040\
         dcbd36fea0b0ab3c761dfd34662404a1325813411bc52034ba0b8da839366f1bd8dbf1aaf9d2eb36ee5538e3193209f392d5d5a2768d19\
         4b909de8d017b6f1ab12b900000000",
    ),
    (
        Algorithm::Sha224,
        "d4ab28000001000100010001076578616d706c65036f72670000060001036e6577c00c000100fe000000000000c01d000100010000003c\
         0004c000020906757064617465076578616d706c650000fa00ff0000000000390b686d61632d7368613232340000006b036403012c001c\
         0a452120f9da19f1dbc1e438d5320ff6efbc9a56f4338631208008a0d4ab00000000",
    ),
];

fn message(hex: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn check(keys: &[Key], message: &[u8], now: u64) -> Result<Signed, TsigError> {
    verify(keys, &Query::read_opcode(Opcode::UPDATE, message).unwrap(), message, now)
}

#[test]
fn what_nsupdate_signed_is_accepted_in_its_time_only() {
    let keys = Algorithm::ALL.map(key);
    for (algorithm, hex) in VECTORS {
        let message = message(hex);
        let time = 0x6b03_6400;
        let signed = check(&keys, &message, time).unwrap();
        assert_eq!(keys[signed.key].algorithm, algorithm);
        assert!(matches!(check(&keys, &message, time + 310), Err(TsigError::BadTime(_))));
        assert!(matches!(check(&keys, &message, time - 310), Err(TsigError::BadTime(_))));
    }
}

#[test]
fn a_change_anywhere_is_noticed() {
    let keys = [key(Algorithm::Sha256)];
    let good = message(VECTORS[0].1);
    for octet in 0..good.len() {
        for bit in [0, 5, 7] {
            let mut bad = good.clone();
            bad[octet] ^= 1 << bit;
            let Ok(query) = Query::read_opcode(Opcode::UPDATE, &bad) else { continue };
            let verified = verify(&keys, &query, &bad, 0x6b03_6400);
            // The ID on the wire is not covered (the original one is), nor is the case of names in the TSIG record.
            let key_name = query.tsig.map_or(0..0, |start| start..start + 16);
            let algorithm = key_name.end + 10..key_name.end + 10 + 13;
            let in_names = key_name.contains(&octet) || algorithm.contains(&octet);
            let uncovered = octet < 2 || in_names && bad.eq_ignore_ascii_case(&good);
            assert_eq!(verified.is_ok(), uncovered, "octet {octet}, bit {bit}");
        }
    }
}

#[test]
fn each_fault_has_its_own_answer() {
    let keys = [key(Algorithm::Sha256)];
    let mut other = key(Algorithm::Sha256);
    other.secret[0] ^= 1;
    let bare = message("000128000001000000000000076578616d706c65036f72670000060001");
    let signed_by = |key: &Key, time| {
        let mut message = bare.clone();
        sign_request(key, &mut message, time);
        message
    };
    let answer = |request: &[u8]| {
        let error = check(&keys, request, 1_000_000).unwrap_err();
        let mut response = bare.clone();
        response[2] |= 0x80;
        refuse(&keys, &error, &mut response, 1_000_000);
        (error, response)
    };
    let (error, response) = answer(&signed_by(&other, 1_000_000));
    assert_eq!(verify_response(&keys[0], &[], &response), 16);
    assert_eq!(error.rcode(), Rcode::NOTAUTH);
    let (_, response) = answer(&signed_by(&key(Algorithm::Sha512), 1_000_000));
    assert_eq!(verify_response(&keys[0], &[], &response), 17);
    let late = signed_by(&keys[0], 999_000);
    let (_, response) = answer(&late);
    assert_eq!(verify_response(&keys[0], &mac_of(&late), &response), 18);
    assert_eq!(check(&keys, &bare, 1_000_000).unwrap_err(), TsigError::Missing);
    let resized = |key: &Key, octets| {
        let mut message = bare.clone();
        sign_and_resize(key, &mut message, 1_000_000, octets);
        message
    };
    for octets in [0, 9, 15, 33, 64] {
        assert_eq!(check(&keys, &resized(&keys[0], octets), 1_000_000).unwrap_err(), TsigError::Malformed);
    }
    let short = resized(&keys[0], 16);
    let (error, response) = answer(&short);
    assert!(matches!(error, TsigError::BadTrunc(_)));
    assert_eq!(verify_response(&keys[0], &mac_of(&short), &response), 22);
    assert_ne!(mac_of(&response_as_request(&response)), [0; 0], "it is signed");
    assert!(matches!(answer(&resized(&other, 16)).0, TsigError::BadSig(_)));
}

/// A response is framed like a request.
fn response_as_request(response: &[u8]) -> Vec<u8> {
    let mut frame = response.to_vec();
    frame[2] &= 0x7F;
    frame
}

#[test]
fn a_response_is_signed_over_the_request() {
    let keys = [key(Algorithm::Sha384)];
    let mut request = message("000128000001000000000000076578616d706c65036f72670000060001");
    let mut response = request.clone();
    sign_request(&keys[0], &mut request, 77);
    let signed = check(&keys, &request, 77).unwrap();
    response[2] |= 0x80;
    sign(&keys, &signed, &mut response, 78);
    assert_eq!(verify_response(&keys[0], &mac_of(&request), &response), 0);
}
