//! Certificates and keys as PEM files have them (RFC 7468), made short for a board: DER, and the key without its wrapping.

use data_encoding::BASE64;

/// The one certificate in `text`; `None` if there is none, or more than one.
pub(super) fn certificate(text: &str) -> Option<Vec<u8>> {
    let mut parts = parts(text).filter(|(label, _)| *label == "CERTIFICATE");
    let (_, der) = parts.next()?;
    if parts.next().is_some() { None } else { der.filter(|der| element(der, SEQUENCE).is_some()) }
}

/// The P-256 key in `text`, from SEC 1 (RFC 5915) or PKCS #8 (RFC 5958), as the shortest SEC 1 that names its curve.
pub(super) fn p256_key(text: &str) -> Option<Vec<u8>> {
    let key = parts(text).find_map(|(label, der)| match label {
        "EC PRIVATE KEY" | "PRIVATE KEY" => der,
        _ => None,
    })?;
    if !key.windows(P256.len()).any(|part| part == P256) {
        return None;
    }
    let (content, _) = element(&key, SEQUENCE)?;
    let (_version, fields) = element(content, INTEGER)?;
    let scalar = match element(fields, OCTET_STRING) {
        Some((scalar, _)) => scalar,
        None => {
            let (_algorithm, fields) = element(fields, SEQUENCE)?;
            let (sec1, _) = element(fields, OCTET_STRING)?;
            let (content, _) = element(sec1, SEQUENCE)?;
            let (_version, fields) = element(content, INTEGER)?;
            element(fields, OCTET_STRING)?.0
        }
    };
    let is_whole = scalar.len() == 32;
    is_whole.then(|| [&[SEQUENCE, 49, INTEGER, 1, 1, OCTET_STRING, 32], scalar, &[0xA0, 10], &P256].concat())
}

/// The public key, a point on P-256, in a certificate (RFC 5280 section 4.1); `None` if it has none, such as one of RSA.
pub(super) fn certified_key(certificate: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(certificate, SEQUENCE)?;
    let (content, _) = element(content, SEQUENCE)?;
    let rest = element(content, VERSION).map_or(content, |(_, rest)| rest);
    let mut rest = element(rest, INTEGER)?.1;
    for _signature_issuer_validity_subject in 0..4 {
        rest = element(rest, SEQUENCE)?.1;
    }
    let (key, _) = element(rest, SEQUENCE)?;
    let (algorithm, rest) = element(key, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    match bits {
        [0, point @ ..] if algorithm.ends_with(&P256) && point.len() == POINT => Some(point),
        _ => None,
    }
}

/// The public key that the P-256 key in `text` brings with it, as those do that `openssl` makes.
pub(super) fn public_key(text: &str) -> Option<Vec<u8>> {
    parts(text).filter_map(|(_, der)| der).find_map(|der| {
        let at = der.windows(PUBLIC_KEY.len()).position(|part| part == PUBLIC_KEY)? + PUBLIC_KEY.len();
        Some(der.get(at..at + POINT)?.to_vec())
    })
}

/// The parts of a PEM text: label and content, `None` where that is no base64.
fn parts(text: &str) -> impl Iterator<Item = (&str, Option<Vec<u8>>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        let base64: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        Some((label, BASE64.decode(base64.as_bytes()).ok()))
    })
}

/// Content of the DER element at the front, which has to have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (found == tag).then_some((content, rest))
}

/// The curve's object identifier, as DER has it.
const P256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// Octets of a point, uncompressed (SEC 1 section 2.3.3).
const POINT: usize = 65;
/// What stands before the point in a key (RFC 5915 section 3).
const PUBLIC_KEY: [u8; 5] = [0xA1, 68, BIT_STRING, 66, 0];
const VERSION: u8 = 0xA0;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The same key twice, as `openssl ecparam -genkey` and `openssl genpkey` write it. It protects nothing.
    pub(in super::super) const SEC1: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIPmoARacZBMb3xyjiNiwdNmfhxs9r9ciq4p9JObrRMc7oAoGCCqGSM49\n\
        AwEHoUQDQgAEBVQ3z99afRz6cRRRjoepLJydbE4ogHTjdDB4BvMlhCqV3kQKL7tP\n\
        rW8R0vu609WyAx7jZ9ogyO2zru+nTqYppw==\n\
        -----END EC PRIVATE KEY-----";
    const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+agBFpxkExvfHKOI\n\
        2LB02Z+HGz2v1yKrin0k5utExzuhRANCAAQFVDfP31p9HPpxFFGOh6ksnJ1sTiiA\n\
        dON0MHgG8yWEKpXeRAovu0+tbxHS+7rT1bIDHuNn2iDI7bOu76dOpimn\n\
        -----END PRIVATE KEY-----";

    /// Its certificate, another key's, and one of RSA.
    pub(in super::super) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBcDCCARWgAwIBAgIUBMFDiR/A3bJwrTgdHq+9vUiKjXkwCgYIKoZIzj0EAwIwDDEKMAgGA1UE\n\
        AwwBYTAgFw0yNjExMjQxMzIxMjFaGA8yMTI2MTAzMTEzMjEyMVowDDEKMAgGA1UEAwwBYTBZMBMG\n\
        ByqGSM49AgEGCCqGSM49AwEHA0IABAVUN8/fWn0c+nEUUY6HqSycnWxOKIB043QweAbzJYQqld5E\n\
        Ci+7T61vEdL7utPVsgMe42faIMjts67vp06mKaejUzBRMB0GA1UdDgQWBBSKsNxN3C7vzgh2LvMo\n\
        UhwqDPLhATAfBgNVHSMEGDAWgBSKsNxN3C7vzgh2LvMoUhwqDPLhATAPBgNVHRMBAf8EBTADAQH/\n\
        MAoGCCqGSM49BAMCA0kAMEYCIQChrRyNTeijkuxRdJajnK4LG1POoXfiNlzzHf5Ii04xtwIhAPKf\n\
        tJDERaqA8vXi9uUabYS12j0qmc++NMma//3QznhV\n\
        -----END CERTIFICATE-----\n";
    pub(in super::super) const OTHER: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBcDCCARWgAwIBAgIUDH3y/blSn5S7rA4/7HH38CHbVKAwCgYIKoZIzj0EAwIwDDEKMAgGA1UE\n\
        AwwBYjAgFw0yNjExMjQxMzIxMjFaGA8yMTI2MTAzMTEzMjEyMVowDDEKMAgGA1UEAwwBYjBZMBMG\n\
        ByqGSM49AgEGCCqGSM49AwEHA0IABO0W+d6IierBg3fcalJmdHdwM666T9EsedGjVZVrVpPBicO2\n\
        XRKWGAp89Iv0o+AI7+4Lb+IcKlZdkzjYPE0xjHmjUzBRMB0GA1UdDgQWBBRjiibh9qJqGHpJRpKf\n\
        sq5f6v74TTAfBgNVHSMEGDAWgBRjiibh9qJqGHpJRpKfsq5f6v74TTAPBgNVHRMBAf8EBTADAQH/\n\
        MAoGCCqGSM49BAMCA0kAMEYCIQDzReEigzu9m0l50/dlhWDSLg11POcAbcliUQawTHAO7QIhANKN\n\
        zv4E/luA3ADHWmRZ7OUx9kU4j/9ocF4nIsN415Yo\n\
        -----END CERTIFICATE-----\n";
    pub(in super::super) const RSA: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIB+DCCAWGgAwIBAgIUJt4G0UEIhoVzZrSPO2Mz8QWaAX4wDQYJKoZIhvcNAQELBQAwDTELMAkG\n\
        A1UEAwwCY2EwIBcNMjYxMTI0MTMyMDAwWhgPMjEyNjEwMzExMzIwMDBaMA0xCzAJBgNVBAMMAmNh\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDD1v7rOApqEGaVNcIQQFWtB0MfHCHEjNw7uAeL\n\
        lfJATklzpBm3qqoJX2UdPVPnjrW7TZbwV2+h+eS5PudCFrdL0guDXzVqVMl3l92NWZXAhWjsZwqv\n\
        E9FxiW/gx35HkYE7WplPL9dOQ+CnnU5u2V6DXLQ3+UtU+Ny7YQrqBAFJlQIDAQABo1MwUTAdBgNV\n\
        HQ4EFgQUHevToJ89uF0ZjrlgE6zJyulygJAwHwYDVR0jBBgwFoAUHevToJ89uF0ZjrlgE6zJyuly\n\
        gJAwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOBgQC74EKlFmZDSom96GMIMpXQSyo2\n\
        msO85dbMG/1f3uFI9yncQaHwLb/YEkGv0mxsr73J074spuvfHxvjbB1iGrMVMZX1DraMCrLlR/Gs\n\
        VEjVxC9mAxZM0YZSGFGo4PKynRCz+80E63703gLiFeVWkkwPJXkUutHmdj2QXw3pJhyIcw==\n\
        -----END CERTIFICATE-----\n";

    #[test]
    fn a_certificates_key_is_found() {
        let [own, other, rsa] = [CERTIFICATE, OTHER, RSA].map(|text| certificate(text).unwrap());
        let key = public_key(SEC1).unwrap();
        assert_eq!(public_key(PKCS8).as_deref(), Some(&key[..]));
        assert_eq!(certified_key(&own), Some(&key[..]));
        assert!(certified_key(&other).is_some_and(|other| other != key));
        assert_eq!(certified_key(&rsa), None);
        assert_eq!((public_key(CERTIFICATE), certified_key(&own[..own.len() / 2])), (None, None));
    }

    #[test]
    fn a_key_is_the_same_in_both_wrappings() {
        let key = p256_key(SEC1).unwrap();
        assert_eq!(p256_key(PKCS8).unwrap(), key);
        assert_eq!((key.len(), usize::from(key[1])), (51, 49));
        assert_eq!(p256_key(&PKCS8.replace("PRIVATE", "PUBLIC")), None);
        assert_eq!(p256_key(&SEC1.replace("EC PRIVATE", "RSA PRIVATE")), None);
        assert_eq!(p256_key(""), None);
    }

    #[test]
    fn one_certificate_is_taken_and_no_chain() {
        let one = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        assert_eq!(certificate(one).unwrap(), [0x30, 3, 2, 1, 1]);
        assert_eq!(certificate(&format!("{one}{one}")), None);
        assert_eq!(certificate(&one.replace("MAMC", "!!!!")), None);
        assert_eq!(certificate(&one.replace("MAMC", "MAwC")), None);
    }
}
