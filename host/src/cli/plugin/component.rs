//! From a core module that cargo built to a component.

use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use super::super::failure::Failure;
use crate::error::Kind;

/// The custom section with the names of functions, which backtraces read.
const NAMES: &str = "name";
/// What the custom sections begin with that say which world the module is made for.
const WORLD_PREFIX: &str = "component-type";

/// Makes a component of a core module. Of its custom sections only the names are left.
pub(super) fn of_module(module: &[u8]) -> Result<Vec<u8>, Failure> {
    let failed = |error: anyhow::Error| {
        Failure::new("not_a_plugin", Kind::Invalid, format!("no component can be made of what was built: {error:#}"))
    };
    let module = without_custom_sections(module).map_err(|error| failed(error.into()))?;
    ComponentEncoder::default().validate(true).module(&module).and_then(|encoder| encoder.encode()).map_err(failed)
}

/// The module without debug information and marks of tools, which are larger than the code.
fn without_custom_sections(module: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut kept = Vec::with_capacity(module.len());
    // Where the section that is looked at begins: at its id, before its length.
    let mut begin = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let (end, keep) = match &payload {
            Payload::Version { range, encoding: Encoding::Module, .. } => (range.end, true),
            Payload::CustomSection(section) => {
                let name = section.name();
                (section.range().end, name == NAMES || name.starts_with(WORLD_PREFIX))
            }
            // Functions are parts of the code section, whose payload has come before them.
            Payload::CodeSectionEntry(_) | Payload::End(_) => continue,
            payload => match payload.as_section() {
                Some((_, range)) => (range.end, true),
                None => continue,
            },
        };
        if keep {
            kept.extend_from_slice(&module[begin..end]);
        }
        begin = end;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section: id, length, content.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id, content.len() as u8], content].concat()
    }

    fn custom(name: &str, content: &[u8]) -> Vec<u8> {
        section(0, &[&[name.len() as u8], name.as_bytes(), content].concat())
    }

    #[test]
    fn only_names_and_the_world_are_left_of_custom_sections() {
        let start = b"\0asm\x01\0\0\0".to_vec();
        let types = section(1, &[1, 0x60, 0, 0]);
        let functions = section(3, &[1, 0]);
        let code = section(10, &[1, 2, 0, 0x0b]);
        let (names, world) = (custom("name", &[0, 1, 0]), custom("component-type:x", b"abc"));
        let (debug, marks) = (custom(".debug_info", &[7; 50]), custom("producers", &[0]));
        let module = [&start, &debug, &types, &functions, &world, &code, &names, &marks].map(Vec::as_slice).concat();
        let expected = [&start, &types, &functions, &world, &code, &names].map(Vec::as_slice).concat();
        assert_eq!(without_custom_sections(&module).expect("a module"), expected);
    }

    #[test]
    fn what_says_no_world_is_refused() {
        let failure = of_module(b"not a module").expect_err("refused");
        assert_eq!(failure.code(), "not_a_plugin");
    }
}
