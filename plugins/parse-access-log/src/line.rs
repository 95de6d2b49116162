//! A line of an access log: `host ident user [time] "request" status bytes`, in the combined format followed by
//! `"referer" "agent"`.

use std::borrow::Cow;

use millstream_sdk::prelude::*;
use millstream_sdk::time::DateTime;

use crate::request::Request;
use crate::scan::Scan;

/// The format of the lines.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Common or combined, whichever the line is.
    #[default]
    Auto,
    /// Common: a line that goes on after the bytes is malformed.
    Common,
    /// Combined: a line without referer and agent is cut off.
    Combined,
}

/// A line; what the server wrote as `-` is `None`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ident: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    pub(crate) time: i64,
    #[serde(flatten)]
    pub(crate) request: Request<'a>,
    pub(crate) status: u32,
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    pub(crate) fn read(text: &'a str, format: Format) -> Result<Self> {
        let mut scan = Scan::new(text.trim_end_matches(['\r', '\n', ' ']));
        let host = scan.take_until(b' ', "the host")?;
        let ident = scan.take_until(b' ', "the identity")?;
        // Names of users may have spaces in them; only the time's bracket ends them.
        let user = scan.take_until_where(b' ', |rest| rest.starts_with('['), "the user")?;
        scan.take("[", "`[` before the time")?;
        let time = time(&mut scan)?;
        scan.take(" ", "a space before the request")?;
        let request = Request::read(scan.take_quoted("the request")?);
        scan.take(" ", "a space before the status")?;
        let status = scan.take_digits(3, "a status of three digits")?;
        scan.take(" ", "a space before the bytes")?;
        let bytes = bytes(&mut scan)?;
        let (referer, agent) = match format {
            Format::Common => (None, None),
            Format::Auto if scan.is_at_end() => (None, None),
            Format::Auto | Format::Combined => {
                scan.take(" ", "a space before the referer")?;
                let referer = scan.take_quoted("the referer")?;
                scan.take(" ", "a space before the agent")?;
                (given(referer), given(scan.take_quoted("the agent")?))
            }
        };
        if !scan.is_at_end() {
            return scan.expected("the end of the line");
        }
        let named = |name: &'a str| (name != "-" && name != "\"\"").then_some(name);
        Ok(Self { host, ident: named(ident), user: named(user), time, request, status, bytes, referer, agent })
    }
}

fn given(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (text != "-").then_some(text)
}

/// Takes a time such as `17/May/2015:10:05:03 +0000]`, whose `[` has been taken.
fn time(scan: &mut Scan<'_>) -> Result<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let start = scan.clone();
    let day = scan.take_digits(2, "a day of two digits")?;
    scan.take("/", "`/` after the day")?;
    let before_month = scan.clone();
    let month = scan.take_until(b'/', "the month")?;
    let Some(month) = (1..).zip(MONTHS).find_map(|(number, name)| (name == month).then_some(number)) else {
        return before_month.expected("a month from `Jan` to `Dec`");
    };
    let year = scan.take_digits(4, "a year of four digits")?;
    scan.take(":", "`:` after the year")?;
    let hour = scan.take_digits(2, "an hour of two digits")?;
    scan.take(":", "`:` after the hour")?;
    let minute = scan.take_digits(2, "a minute of two digits")?;
    scan.take(":", "`:` after the minute")?;
    let second = scan.take_digits(2, "a second of two digits")?;
    scan.take(" ", "a space after the second")?;
    let offset_minutes = offset(scan)?;
    scan.take("]", "`]` after the time")?;
    let date = DateTime { year: year as i32, month, day, hour, minute, second, millisecond: 0, offset_minutes };
    date.to_unix_ms().map_or_else(|| start.expected("a date and time of day that exist"), Ok)
}

/// Takes an offset from UTC such as `-0730`.
fn offset(scan: &mut Scan<'_>) -> Result<i32> {
    let what = "an offset from UTC such as `+0000`";
    let start = scan.clone();
    let sign = if scan.take_while(what, |byte| byte == b'+' || byte == b'-')? == "-" { -1 } else { 1 };
    let hours = scan.take_digits(2, what)?;
    let minutes = scan.take_digits(2, what)?;
    if hours > 23 || minutes > 59 {
        return start.expected(what);
    }
    Ok(sign * (hours * 60 + minutes) as i32)
}

/// Takes a number of bytes, or `-` for none.
fn bytes(scan: &mut Scan<'_>) -> Result<Option<u64>> {
    let what = "a number of bytes or `-`";
    let start = scan.clone();
    match scan.take_while(what, |byte| byte.is_ascii_digit() || byte == b'-')? {
        "-" => Ok(None),
        digits => digits.parse().map_or_else(|_| start.expected(what), |bytes| Ok(Some(bytes))),
    }
}
