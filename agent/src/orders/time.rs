//! Times as people give and read them.

use crate::enrolment;

/// Unix seconds of a time in UTC (`2030-12-24T18:00Z`, with or without seconds) or of a span from `now` on (`90m`, `2h`,
/// `3d`). It has to be later than `now`.
pub(crate) fn parse(text: &str, now: u64) -> Result<u64, String> {
    let time = span(text).map(|span| now.saturating_add(span)).or_else(|| date(text));
    match time {
        Some(time) if time > now => Ok(time),
        Some(_) => Err(format!("--until {text}: that is over\n  remedy: give a time to come")),
        None => Err(format!(
            "--until {text:?} is no time\n  remedy: give a time in UTC such as 2030-12-24T18:00Z, or a span such as \
             90m, 2h or 3d"
        )),
    }
}

/// Unix seconds, for people.
pub(crate) fn shown(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let (year, month, day) = enrolment::calendar(days);
    let second = seconds % 60;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{second:02}Z", minutes / 60, minutes % 60)
}

fn span(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    plain(number)?.checked_mul(seconds)
}

/// RFC 3339, in UTC, seconds and fractions aside.
fn date(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = fields(date, '-')?;
    let [hour, minute, second] = fields(time, ':').or_else(|| {
        let [hour, minute] = fields(time, ':')?;
        Some([hour, minute, 0])
    })?;
    if !(1970..10_000).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The day that the calendar shows for a number is the one that is meant, or there is none: 2030-02-30.
    let guess = (year - 1970) * 365 + (year - 1969) / 4 + (month.checked_sub(1)?) * 30;
    let days = (guess.saturating_sub(60)..guess + 100)
        .find(|&days| enrolment::calendar(days) == (year, month, day))?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn fields<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let fields: Vec<u64> = text.split(separator).map(plain).collect::<Option<_>>()?;
    fields.try_into().ok()
}

/// Digits alone: no sign.
fn plain(text: &str) -> Option<u64> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_spans_are_times() {
        // As `date -u -d DATE +%s` has them.
        for (text, seconds) in [
            ("2024-02-29T00:00Z", 1_709_164_800),
            ("2030-12-24T18:00Z", 1_924_365_600),
            ("2030-12-24T18:00:59Z", 1_924_365_659),
            ("2099-12-31T23:59:59Z", 4_102_444_799),
            ("90m", 6_400),
            ("3d", 260_200),
        ] {
            assert_eq!(parse(text, 1_000), Ok(seconds), "{text}");
        }
        assert_eq!(shown(1_924_365_659), "2030-12-24T18:00:59Z");
    }

    #[test]
    fn what_is_no_time_to_come_is_refused_with_a_remedy() {
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "2h30m",
            "tomorrow",
            "2030-02-30T00:00Z",
            "2030-12-24",
            "2030-12-24T24:00Z",
            "ü",
        ] {
            assert!(parse(text, 1_000).is_err_and(|error| error.contains("remedy: ")), "{text}");
        }
        assert!(parse("2024-02-29T00:00Z", 1_800_000_000).is_err_and(|error| error.contains("over")));
        assert!(parse("0s", 5).is_err());
        assert!(parse("99999999999999999999d", 5).is_err());
    }
}
