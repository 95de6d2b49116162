//! Calendar arithmetic for event times: from dates and texts to milliseconds since the Unix epoch.
//!
//! The calendar is the proleptic Gregorian one. A leap second (`:60`) counts as the first of the next minute.

const MS_PER_SECOND: i64 = 1_000;
const MS_PER_MINUTE: i64 = 60 * MS_PER_SECOND;
const MS_PER_DAY: i64 = 24 * 60 * MS_PER_MINUTE;

/// A date and a time of day with its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year.
    pub year: i32,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
    /// The hour, 0 to 23.
    pub hour: u32,
    /// The minute, 0 to 59.
    pub minute: u32,
    /// The second, 0 to 60.
    pub second: u32,
    /// The millisecond, 0 to 999.
    pub millisecond: u32,
    /// How many minutes its clock is ahead of UTC.
    pub offset_minutes: i32,
}

impl DateTime {
    /// Milliseconds since the Unix epoch; none if there is no such date or time of day.
    pub fn to_unix_ms(self) -> Option<i64> {
        let exists = (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
            && self.millisecond < 1_000;
        exists.then(|| {
            let minutes = i64::from(self.hour) * 60 + i64::from(self.minute) - i64::from(self.offset_minutes);
            days_since_epoch(self.year, self.month, self.day) * MS_PER_DAY
                + minutes * MS_PER_MINUTE
                + i64::from(self.second) * MS_PER_SECOND
                + i64::from(self.millisecond)
        })
    }
}

fn days_in_month(year: i32, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01. Years are taken to begin in March, so that the leap day is their last.
fn days_since_epoch(year: i32, month: u32, day: u32) -> i64 {
    const DAYS_PER_400_YEARS: i64 = 146_097;
    const DAYS_FROM_MARCH_OF_YEAR_0_TO_EPOCH: i64 = 719_468;
    let (year, month) = (i64::from(year), i64::from(month));
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    // From March on, months have 31, 30, 31, 30, 31 days, over and over: 153 days in five.
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * DAYS_PER_400_YEARS + day_of_cycle - DAYS_FROM_MARCH_OF_YEAR_0_TO_EPOCH
}

/// Reads an RFC 3339 text such as `2024-02-29T12:00:00.5+01:00` as milliseconds since the Unix epoch; none if it is not
/// one. Digits past the millisecond are cut off.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    expect(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    expect(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    expect(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    expect(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    expect(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let millisecond = if expect(&mut rest, b".").is_some() { fraction(&mut rest)? } else { 0 };
    let offset_minutes = offset(&mut rest)?;
    let time = DateTime { year: year as i32, month, day, hour, minute, second, millisecond, offset_minutes };
    if rest.is_empty() { time.to_unix_ms() } else { None }
}

/// Takes a decimal number of exactly that many digits, at most nine.
fn digits(from: &mut &[u8], count: usize) -> Option<u32> {
    let (number, rest) = from.split_at_checked(count)?;
    *from = rest;
    number.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
}

/// Takes a byte that is one of `wanted`; takes nothing if the next one is none of them.
fn expect(from: &mut &[u8], wanted: &[u8]) -> Option<u8> {
    let (&first, rest) = from.split_first()?;
    wanted.contains(&first).then(|| {
        *from = rest;
        first
    })
}

/// Takes all digits of a fraction of a second.
fn fraction(from: &mut &[u8]) -> Option<u32> {
    let count = from.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = from.split_at(count);
    *from = rest;
    let first_three = number.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    (count > 0).then(|| first_three.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// Takes `Z` or an offset such as `+05:30`.
fn offset(from: &mut &[u8]) -> Option<i32> {
    let sign = match expect(from, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = digits(from, 2)?;
    expect(from, b":")?;
    let minutes = digits(from, 2)?;
    (hours < 24 && minutes < 60).then(|| sign * (hours * 60 + minutes) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_milliseconds() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:00:00+01:00", 951_822_000_000),
            ("2000-02-29T05:30:00.5-05:30", 951_822_000_500),
            ("2024-12-31t23:59:60z", 1_735_689_600_000),
            ("2015-05-17 10:05:03.123456Z", 1_431_857_103_123),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2024",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+24:00",
            "+024-01-01T00:00:00Z",
            "2024-01-01T00:00:00+0100",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn days_follow_one_another_through_four_centuries() {
        let mut expected = days_since_epoch(1900, 1, 1);
        assert_eq!(expected, -25_567);
        for year in 1900..2301 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_since_epoch(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }
}
