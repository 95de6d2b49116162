//! What the server and its compiling process say to each other: a length, a JSON head, a length, bytes; both ways.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Description;
use super::error::Error;
use super::limits::Limits;
use super::lines::Lines;

/// Longest head. The longest part of it are the configuration and a description's texts, both bounded.
pub(super) const HEAD_BYTES_MAX: usize = 4 << 20;

/// What is to be done with a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Work {
    /// Say what it is.
    Certify,
    /// Make the image of a step.
    Image {
        /// The step's configuration, JSON text.
        config: String,
    },
}

/// A request; the component's bytes follow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) limits: Limits,
}

/// The answer to [`Work::Certify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Certified {
    pub(super) description: Description,
    /// Why the component cannot be snapshotted, if it cannot.
    pub(super) no_snapshot: Option<String>,
    pub(super) imports: Vec<String>,
    pub(super) lines: Lines,
}

/// The answer to [`Work::Image`]; the artifact's bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) description: Description,
    /// Why the artifact is no snapshot but the component itself, if it is: then `init` runs in every instance.
    pub(super) no_snapshot: Option<String>,
    pub(super) imports: Vec<String>,
    pub(super) lines: Lines,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    Certified(Certified),
    Made(Made),
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A head and bytes, as they are sent.
pub(super) fn encode<T: Serialize>(head: &T, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut message = Vec::with_capacity(16 + head.len() + bytes.len());
    for part in [head.as_slice(), bytes] {
        message.extend_from_slice(&(part.len() as u64).to_le_bytes());
        message.extend_from_slice(part);
    }
    Ok(message)
}

/// A head and the place of the bytes in a message.
pub(super) fn decode<T: DeserializeOwned>(message: &[u8]) -> io::Result<(T, &[u8])> {
    let (head, rest) = part(message)?;
    let (bytes, rest) = part(rest)?;
    if !rest.is_empty() {
        return Err(invalid("bytes after the end of a message"));
    }
    Ok((serde_json::from_slice(head)?, bytes))
}

fn part(message: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let (length, rest) = message.split_first_chunk().ok_or_else(|| invalid("a message without its length"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| invalid("a length without measure"))?;
    rest.split_at_checked(length).ok_or_else(|| invalid("a message that ends early"))
}

/// Reads the parent's request.
pub(super) fn read_request(from: &mut impl Read) -> io::Result<(Request, Vec<u8>)> {
    let mut message = Vec::new();
    from.read_to_end(&mut message)?;
    let (request, component) = decode(&message)?;
    Ok((request, component.to_vec()))
}

/// Writes the answer.
pub(super) fn write_reply(to: &mut impl Write, reply: &Result<Reply, Error>, artifact: &[u8]) -> io::Result<()> {
    to.write_all(&encode(reply, artifact)?)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_and_broken_ones_are_found() {
        let message = encode(&vec![1, 2], b"bytes").unwrap();
        assert_eq!(decode::<Vec<u8>>(&message).unwrap(), (vec![1, 2], &b"bytes"[..]));
        for cut in 0..message.len() {
            assert!(decode::<Vec<u8>>(&message[..cut]).is_err(), "{cut}");
        }
        let long = [message.as_slice(), b"x"].concat();
        assert!(decode::<Vec<u8>>(&long).is_err());
    }
}
