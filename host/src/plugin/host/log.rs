//! The import `log`: lines of a plugin.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::plugin::ctx::{Ctx, charge};

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.instance("millstream:plugin/log@0.1.0")?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Ctx>, (level, message): (u8, WasmStr)| {
            let text = message.to_str(&store).map(|text| {
                let line_bytes = store.data().limits.log_line_bytes;
                (text.len(), text[..text.floor_char_boundary(line_bytes)].to_owned())
            });
            charge(&mut store, text.as_ref().map_or(0, |(bytes, _)| *bytes as u64))?;
            let ctx = store.data_mut();
            match text {
                Ok((_, text)) => ctx.lines.push(&ctx.limits, level, &text),
                // No text: there is no line to write.
                Err(_) => ctx.lines.suppress(),
            }
            Ok(())
        },
    )
}
