//! What a function may return: things that are zero, one or many rows.

use serde::Serialize;

use crate::answer::Out;
use crate::columns::Append;
use crate::error::{Error, Result};
use crate::input::{Bytes, Json, Text};
use crate::row::Row;

/// Something that is zero, one or many output rows.
///
/// `()` is none; `bool` keeps or drops the input row; text, bytes and [`Json`] are a row with that value and all else as
/// in the input row; [`Row`] says all itself; `Option`, `Vec` and arrays of these are as many rows; `Result` rejects the
/// input row on an error.
pub trait IntoRows {
    /// Emits the rows.
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()>;
}

impl IntoRows for () {
    #[inline]
    fn emit(self, _: &mut Out<'_, '_>) -> Result<()> {
        Ok(())
    }
}

impl IntoRows for bool {
    #[inline]
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        if self {
            out.pass();
        }
        Ok(())
    }
}

impl<T: IntoRows> IntoRows for Option<T> {
    #[inline]
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        self.map_or(Ok(()), |rows| rows.emit(out))
    }
}

impl<T: IntoRows, E: Into<Error>> IntoRows for Result<T, E> {
    #[inline]
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        self.map_err(Into::into)?.emit(out)
    }
}

impl<T: IntoRows> IntoRows for Vec<T> {
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        self.into_iter().try_for_each(|rows| rows.emit(out))
    }
}

impl<T: IntoRows, const N: usize> IntoRows for [T; N] {
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        self.into_iter().try_for_each(|rows| rows.emit(out))
    }
}

macro_rules! value_into_rows {
    ($($type:ty: $value:ident => $bytes:expr),* $(,)?) => {$(
        impl IntoRows for $type {
            #[inline]
            fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
                let $value = self;
                out.row().value(Some($bytes));
                Ok(())
            }
        }
    )*};
}
value_into_rows! {
    &str: text => text.as_bytes(),
    String: text => text.as_bytes(),
    Text<'_>: text => text.0.as_bytes(),
    &[u8]: bytes => bytes,
    Vec<u8>: bytes => &bytes,
    Bytes<'_>: bytes => bytes.0,
}

impl<T: Serialize> IntoRows for Json<T> {
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        out.row().value_with(|buffer| serde_json::to_writer(Append(buffer), &self.0)).map_err(unwritable)
    }
}

impl IntoRows for Row {
    fn emit(self, out: &mut Out<'_, '_>) -> Result<()> {
        self.write(out)
    }
}

/// JSON cannot hold every value: keys of maps must be text, for one.
pub(crate) fn unwritable(error: serde_json::Error) -> Error {
    Error::new("unwritable-json", error)
}
