//! Zigzag variable-length integers, as the records of a batch use them: seven bits a byte, the lowest first.

/// Most bytes of a varint.
pub(super) const BYTES_MAX: usize = 10;

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Bytes that a value takes.
pub(super) const fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a value at the front of `out`, which has room for it, and answers how many bytes it took.
#[inline]
pub(super) fn put(out: &mut [u8], value: i64) -> usize {
    let mut rest = zigzag(value);
    let mut at = 0;
    while rest >= 0x80 {
        out[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

/// Takes a value off the front of `bytes`; `None` if it does not end there or is longer than 64 bits.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<i64> {
    // Nearly all are lengths and deltas of one or two bytes.
    let raw = match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            u64::from(first)
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            u64::from(first & 0x7f) | u64::from(second) << 7
        }
        _ => take_long(bytes)?,
    };
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[cold]
fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut raw = 0_u64;
    for (at, &byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        // The tenth byte has room for one bit.
        if at == BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        raw |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(raw);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_bytes_of_kafkas_encoding() {
        // Zigzag: 0, -1, 1, -2 .. are 0, 1, 2, 3 ..
        for (value, bytes) in [
            (0_i64, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (8191, &[0xfe, 0x7f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut out = [0; BYTES_MAX];
            let length = put(&mut out, value);
            assert_eq!(&out[..length], bytes, "{value}");
            assert_eq!(size(value), length, "{value}");
            let mut rest = &out[..length];
            assert_eq!((take(&mut rest), rest.len()), (Some(value), 0));
        }
    }

    #[test]
    fn a_varint_that_does_not_end_or_overflows_is_none() {
        assert_eq!(take(&mut &[][..]), None);
        assert_eq!(take(&mut &[0x80][..]), None);
        assert_eq!(take(&mut &[0x80; 9][..]), None);
        assert_eq!(take(&mut &[0xff; 11][..]), None);
        assert_eq!(take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]), None);
    }
}
