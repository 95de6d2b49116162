//! Stubs for what the standard library of `wasm32-wasip2` imports, so that honest plugins of that target load. They give
//! nothing: no arguments, environment, files or network; what is printed goes to the plugin's log.
//!
//! Clocks stand at zero and random numbers are the same in every instance: a step reads no clock and no randomness
//! except what its batch carries, or replay would not be exact. They are numbers of a generator rather than zeros, so
//! that code that draws until it likes what it gets ends.
//!
//! Functions are defined by name and result type out of what the component imports: the stubs need no copy of WASI.

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceDynamic, ResourceType, Type, Val};

use super::ctx::{Ctx, charge};
use super::failure::Exited;
use super::lines::{INFO, WARN};

/// The interfaces, each of WASI 0.2.
const INTERFACES: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

/// Their resources; the place of a name is the resource's type.
const RESOURCES: [&str; 8] = [
    "error",
    "pollable",
    "input-stream",
    "output-stream",
    "terminal-input",
    "terminal-output",
    "descriptor",
    "directory-entry-stream",
];

/// What an output stream takes at once. Each byte costs the host 32 on its way, so it is not much.
const WRITE_BYTES: u64 = 4096;

/// Most random bytes of one call.
const RANDOM_BYTES: u64 = 4096;

/// Whether an import is one of the stubs.
pub(super) fn is_stub(import: &str) -> bool {
    import.split_once('@').is_some_and(|(name, version)| version.starts_with("0.2.") && INTERFACES.contains(&name))
}

/// Defines what the component imports of the stubs.
pub(super) fn define(linker: &mut Linker<Ctx>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (interface, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(items) = import.ty else { continue };
        if !is_stub(interface) {
            continue;
        }
        let mut instance = linker.instance(interface)?;
        for (name, item) in items.exports(&engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    let Some(kind) = kind_of(name) else { continue };
                    instance.resource(name, ResourceType::host_dynamic(kind), |mut store, _| {
                        let wasi = &mut store.data_mut().wasi;
                        wasi.handles = wasi.handles.saturating_sub(1);
                        Ok(())
                    })?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let called = name.to_owned();
                    let of = interface.split(['/', '@']).nth(1).unwrap_or_default().to_owned();
                    instance.func_new(name, move |mut store, ty, params, results| {
                        charge(&mut store, 0)?;
                        let result_type = ty.results().next();
                        let of_handle = take(&mut store, params)?;
                        let value = answer(&mut store, (&of, &called), of_handle, params, result_type.as_ref())?;
                        if let (Some(place), Some(value)) = (results.first_mut(), value) {
                            *place = value;
                        }
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Takes the handles that the guest passed: ends the loans, and the life of those that it gave away. Returns the number
/// of the first.
fn take(store: &mut StoreContextMut<'_, Ctx>, params: &[Val]) -> wasmtime::Result<Option<u32>> {
    let mut first = None;
    for param in params {
        match param {
            Val::Resource(handle) => {
                let taken = ResourceDynamic::try_from_resource_any(*handle, &mut *store)?;
                if taken.owned() {
                    let wasi = &mut store.data_mut().wasi;
                    wasi.handles = wasi.handles.saturating_sub(1);
                }
                first = first.or(Some(taken.rep()));
            }
            Val::List(params) if matches!(params.first(), Some(Val::Resource(_))) => drop(take(store, params)?),
            _ => {}
        }
    }
    Ok(first)
}

fn kind_of(resource: &str) -> Option<u32> {
    RESOURCES.iter().position(|name| *name == resource).map(|place| place as u32)
}

/// A new handle of a resource, whose only property is a number.
fn handle(store: &mut StoreContextMut<'_, Ctx>, resource: &str, number: u32) -> wasmtime::Result<Option<Val>> {
    let Some(kind) = kind_of(resource) else { return Ok(None) };
    store.data_mut().wasi.handles += 1;
    let handle = ResourceDynamic::new_own(number, kind).try_into_resource_any(store)?;
    Ok(Some(Val::Resource(handle)))
}

/// Numbers of the two output streams.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

fn answer(
    store: &mut StoreContextMut<'_, Ctx>,
    (interface, function): (&str, &str),
    of_handle: Option<u32>,
    params: &[Val],
    result: Option<&Type>,
) -> wasmtime::Result<Option<Val>> {
    let ok = |value: Option<Val>| Ok(Some(Val::Result(Ok(value.map(Box::new)))));
    match (interface, function) {
        ("exit", _) => {
            let status = match params {
                [Val::Result(Ok(_))] => 0,
                [Val::U8(status)] => *status,
                _ => 1,
            };
            Err(Exited(status).into())
        }
        ("stdin", "get-stdin") => handle(store, "input-stream", 0),
        ("stdout", "get-stdout") => handle(store, "output-stream", STDOUT),
        ("stderr", "get-stderr") => handle(store, "output-stream", STDERR),
        ("streams", "[method]output-stream.check-write") => ok(Some(Val::U64(WRITE_BYTES))),
        ("streams", "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush") => {
            if let (Some(stream), [_, Val::List(bytes)]) = (of_handle, params) {
                write(store.data_mut(), stream, bytes);
            }
            ok(None)
        }
        ("streams", name) if name.starts_with("[method]input-stream.") && !name.ends_with("subscribe") => {
            Ok(Some(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None)))))))
        }
        ("streams", name) if name.ends_with("splice") => ok(Some(Val::U64(0))),
        ("streams", name) if name.starts_with("[method]output-stream.") && !name.ends_with("subscribe") => ok(None),
        ("poll", "[method]pollable.ready") => Ok(Some(Val::Bool(true))),
        ("poll", "poll") => {
            let [Val::List(pollables)] = params else { return Ok(None) };
            Ok(Some(Val::List((0..pollables.len() as u32).map(Val::U32).collect())))
        }
        ("monotonic-clock", "resolution") => Ok(Some(Val::U64(1))),
        ("random" | "insecure" | "insecure-seed", _) => random(store.data_mut(), params, result),
        _ => match result {
            None => Ok(None),
            Some(Type::Own(_)) => handle(store, "pollable", 0),
            Some(ty) => Ok(nothing(ty)),
        },
    }
}

fn random(ctx: &mut Ctx, params: &[Val], result: Option<&Type>) -> wasmtime::Result<Option<Val>> {
    match (params, result) {
        ([Val::U64(bytes)], Some(Type::List(_))) => {
            if *bytes > RANDOM_BYTES {
                wasmtime::bail!("asked for {bytes} random bytes at once, the limit is {RANDOM_BYTES}");
            }
            Ok(Some(Val::List((0..*bytes).map(|_| Val::U8(ctx.wasi.draw() as u8)).collect())))
        }
        (_, Some(Type::Tuple(_))) => Ok(Some(Val::Tuple(vec![Val::U64(ctx.wasi.draw()), Val::U64(ctx.wasi.draw())]))),
        _ => Ok(Some(Val::U64(ctx.wasi.draw()))),
    }
}

/// The value of a type that says least: nothing, zero, none; where there is a choice of errors, the first.
fn nothing(ty: &Type) -> Option<Val> {
    Some(match ty {
        Type::Bool => Val::Bool(false),
        Type::U8 => Val::U8(0),
        Type::U16 => Val::U16(0),
        Type::U32 => Val::U32(0),
        Type::U64 => Val::U64(0),
        Type::S64 => Val::S64(0),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Enum(cases) => Val::Enum(cases.names().next()?.to_owned()),
        Type::Record(record) => Val::Record(
            record
                .fields()
                .map(|field| Some((field.name.to_owned(), nothing(&field.ty)?)))
                .collect::<Option<Vec<_>>>()?,
        ),
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| nothing(&ty)).collect::<Option<Vec<_>>>()?),
        Type::Result(result) => match result.err() {
            None => Val::Result(Err(None)),
            Some(error) => Val::Result(Err(Some(Box::new(nothing(&error)?)))),
        },
        _ => return None,
    })
}

/// Collects what is printed into lines.
fn write(ctx: &mut Ctx, stream: u32, bytes: &[Val]) {
    let limits = ctx.limits.clone();
    for byte in bytes {
        let Val::U8(byte) = *byte else { continue };
        let line = if stream == STDERR { &mut ctx.wasi.stderr } else { &mut ctx.wasi.stdout };
        if byte != b'\n' {
            line.push(byte);
        }
        // A line without an end is cut where the log would cut it.
        if byte == b'\n' || line.len() >= limits.log_line_bytes {
            let line = std::mem::take(line);
            let level = if stream == STDERR { WARN } else { INFO };
            ctx.lines.push(&limits, level, &String::from_utf8_lossy(&line));
        }
    }
}

/// Writes lines that were begun and not ended.
pub(super) fn finish(ctx: &mut Ctx) {
    for (line, level) in [(std::mem::take(&mut ctx.wasi.stdout), INFO), (std::mem::take(&mut ctx.wasi.stderr), WARN)] {
        if !line.is_empty() {
            ctx.lines.push(&ctx.limits, level, &String::from_utf8_lossy(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_of_wasi_0_2_and_neither_sockets_nor_http() {
        assert!(is_stub("wasi:cli/stdout@0.2.6"));
        for import in ["wasi:cli/stdout@0.3.0", "wasi:sockets/tcp@0.2.0", "wasi:http/types@0.2.0", "wasi:cli/stdout"] {
            assert!(!is_stub(import), "{import}");
        }
    }
}
