//! Times as arguments: milliseconds since the Unix epoch, or as RFC 3339 writes them in UTC.

use std::str::FromStr;

/// A time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When(pub(super) i64);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = text.parse().ok().or_else(|| rfc3339(text));
        read.map(Self).ok_or_else(|| {
            "it is neither a number of milliseconds since 1970 nor a time in UTC such as 2026-01-31T08:30:00Z"
                .to_owned()
        })
    }
}

fn rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days_in_month = *days_of.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let digits = fraction.len() <= 3 && fraction.bytes().all(|digit| digit.is_ascii_digit());
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 || !digits {
        return None;
    }
    let before: i64 = days_of.iter().take(usize::try_from(month - 1).ok()?).sum();
    let past = year - 1;
    let days = past * 365 + past / 4 - past / 100 + past / 400 + before + day - 1 - DAYS_TO_1970;
    let millis: i64 = format!("{fraction:0<3}").parse().ok()?;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millis)
}

/// Days from 0001-01-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_162;

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut number = || {
        let part = parts.next()?;
        let plain = !part.is_empty() && part.len() <= 4 && part.bytes().all(|digit| digit.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    };
    let all = [number()?, number()?, number()?];
    if parts.next().is_none() && all[0] >= 0 { Some(all) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::output;
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_shown() {
        for ms in [0, 1, 951_782_400_000, 1_709_251_199_999, 4_107_542_400_000, 1_767_225_600_000] {
            assert_eq!(output::time(ms).parse(), Ok(When(ms)), "{}", output::time(ms));
        }
        assert_eq!("1970-01-02T00:00:00Z".parse(), Ok(When(86_400_000)));
        assert_eq!("-5".parse(), Ok(When(-5)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
        ] {
            text.parse::<When>().expect_err(text);
        }
    }
}
