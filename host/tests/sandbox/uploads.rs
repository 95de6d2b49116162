//! Uploads that are refused, each with its code, in a time that does not depend on what they would become.

use millstream::error::Coded as _;
use millstream::plugin::{Error, Grants, Sandbox, SandboxConfig};
use serde_json::json;

use crate::guests::{IDENTITY, Transform, component_of, owner, sandbox};

async fn refusal(upload: &[u8]) -> Error {
    refusal_with(upload, |_| ()).await
}

async fn refusal_with(upload: &[u8], change: impl FnOnce(&mut SandboxConfig)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), change);
    let refused = sandbox.certify(upload).await.unwrap_err();
    still_certifies(&sandbox).await;
    refused
}

async fn still_certifies(sandbox: &Sandbox) {
    sandbox.certify(&Transform::default().component()).await.unwrap();
}

async fn code_of(text: &str) -> &'static str {
    refusal(&wat::parse_str(text).unwrap()).await.code()
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_a_hint() {
    let module = wat::parse_str(Transform::default().text()).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"", "the file is empty"),
        (b"hello", "it is not WebAssembly"),
        (&module, "it is a core WebAssembly module"),
        (b"(module)", "it is the text format of WebAssembly"),
        (b"\0asm\x09\0\0\0", "it is WebAssembly of an unknown version"),
    ];
    for (upload, found) in cases {
        let refused = refusal(upload).await;
        assert_eq!(refused.code(), "not_a_component");
        let message = refused.to_string();
        assert!(message.contains(found) && message.contains("millstream plugin build"), "{message}");
    }
}

#[tokio::test]
async fn a_component_that_is_cut_or_broken_is_refused() {
    let whole = Transform::default().component();
    for cut in [9, 100, whole.len() / 2, whole.len() - 1] {
        assert_eq!(refusal(&whole[..cut]).await.code(), "invalid_component", "cut at {cut}");
    }
    let text = "(component (core module (func (result i32) i64.const 0)))";
    assert!(
        matches!(refusal(&wat::parse_str(text).unwrap()).await, Error::InvalidComponent { offset, .. } if offset > 8)
    );
}

#[tokio::test]
async fn a_component_of_no_world_or_of_two_is_refused() {
    let none = refusal(&wat::parse_str("(component)").unwrap()).await;
    assert_eq!(none.code(), "wrong_world");
    assert!(none.to_string().contains("exports nothing"), "{none}");
    let empty =
        |name: &str| format!(r#"(instance $i{0} ) (export "millstream:plugin/{0}@0.1.0" (instance $i{0}))"#, name);
    let with = |names: &[&str]| format!("(component {})", names.iter().map(|name| empty(name)).collect::<String>());
    assert_eq!(code_of(&with(&["lifecycle"])).await, "wrong_world");
    assert_eq!(code_of(&with(&["transformer"])).await, "wrong_world");
    assert_eq!(code_of(&with(&["lifecycle", "transformer", "aggregator"])).await, "wrong_world");
    // The names alone are not enough.
    assert_eq!(code_of(&with(&["lifecycle", "transformer"])).await, "wrong_world");
    assert_eq!(code_of(&with(&["lifecycle", "processor"])).await, "wrong_world");
}

#[tokio::test]
async fn imports_that_are_unknown_or_of_another_world_are_named() {
    // A component that looks like a plugin of this world, with one import.
    let importing = |world: &str, interface: &str| {
        let mut printed = format!(r#"(component (import "{interface}" (instance (export "get" (func)))) "#);
        for name in ["lifecycle", world] {
            printed += &format!(r#"(instance $i{0}) (export "millstream:plugin/{0}@0.1.0" (instance $i{0}))"#, name);
        }
        wat::parse_str(printed + ")").unwrap()
    };
    for (world, interface) in [
        ("transformer", "table"),
        ("aggregator", "table"),
        ("aggregator", "lookup"),
        ("transformer", "pages"),
        ("aggregator", "pages"),
    ] {
        let import = format!("millstream:plugin/{interface}@0.1.0");
        let refused = refusal(&importing(world, &import)).await;
        assert_eq!(refused.code(), "import_of_other_world", "{world} {interface}");
        assert!(refused.to_string().contains(&import), "{refused}");
    }
    // Not by its imports, then: its functions are not those of the contract.
    for interface in ["table", "lookup", "pages"] {
        let import = format!("millstream:plugin/{interface}@0.1.0");
        assert_eq!(refusal(&importing("processor", &import)).await.code(), "import_unknown");
    }
    for interface in ["wasi:sockets/tcp@0.2.0", "wasi:http/outgoing-handler@0.2.0", "acme:secrets/store@1.0.0"] {
        let unknown = refusal(&importing("transformer", interface)).await;
        assert_eq!(unknown.code(), "import_unknown");
        assert!(unknown.to_string().contains(interface), "{unknown}");
    }
}

/// Components that instantiate the level below ten times: some hundred bytes for ten million instances.
fn laughs(depth: usize) -> String {
    let mut inner = "(core module $m) (core instance (instantiate $m))".to_owned();
    for _ in 0..depth {
        inner = format!("(component $c {inner}) {}", "(instance (instantiate $c))".repeat(10));
    }
    format!("(component {inner})")
}

#[tokio::test]
async fn nesting_that_multiplies_is_counted_and_not_expanded() {
    let bomb = wat::parse_str(laughs(3)).unwrap();
    assert!(bomb.len() < 700, "{}", bomb.len());
    assert_eq!(refusal(&bomb).await.code(), "limit_core_instances");
    // Deep enough for 10^7 if depth itself is not limited.
    let deep = wat::parse_str(laughs(7)).unwrap();
    let raise = |config: &mut SandboxConfig| config.limits.component.nesting = 100;
    assert!(deep.len() < 1000, "{}", deep.len());
    assert_eq!(refusal_with(&deep, raise).await.code(), "limit_core_instances");
    let chain = format!("{}{}", "(component ".repeat(6), ")".repeat(6));
    assert_eq!(code_of(&chain).await, "limit_nesting");
}

/// A component of one core module.
fn module(fields: &str) -> String {
    format!("(component (core module {fields}))")
}

#[tokio::test]
async fn modules_that_are_dear_to_compile_are_refused() {
    let func = |body: &str| module(&format!("(func {body})"));
    let deep = format!("{}{}", "(block ".repeat(600), ")".repeat(600));
    let branches = format!("(block (br_table {} (i32.const 0)))", "0 ".repeat(60_000));
    let many = |what: &str, count: usize| what.repeat(count);
    let cases = [
        ("limit_functions", module(&many("(func)", 100_000))),
        ("limit_stack_height", func(&format!("{} {}", many("(i32.const 1)", 20_000), many("drop ", 20_000)))),
        ("limit_control_depth", func(&deep)),
        ("limit_branch_targets", func(&branches)),
        ("limit_locals", func(&format!("(local {})", many("i32 ", 2_001)))),
        ("limit_locals_total", module(&many(&format!("(func (local {}))", many("i32 ", 2_000)), 251))),
        ("limit_function_bytes", func(&many("(drop (i64.const 0x7fffffffffffffff))", 30_000))),
        ("limit_types", module(&many("(type (func))", 2_001))),
        ("limit_globals", module(&many("(global i32 (i32.const 0))", 2_001))),
        ("limit_imports", module(&many(r#"(import "a" "b" (func))"#, 1_001))),
        ("limit_segments", module(&format!("(memory 1) {}", many(r#"(data "")"#, 2_001)))),
        ("limit_data_bytes", module(&format!(r#"(memory 1) (data "{}")"#, many("x", 4_200_000)))),
        ("limit_tables", module(&many("(table 1 funcref)", 9))),
        ("limit_table_elements", module("(table 20001 funcref)")),
        ("limit_memories", module(&many("(memory 1)", 3))),
        ("limit_memory", module("(memory 65536)")),
        ("limit_custom_bytes", format!(r#"(component (@custom "x" "{}"))"#, many("x", 2_200_000))),
        ("limit_modules", format!("(component {})", many("(core module)", 17))),
        (
            "limit_component_instances",
            format!("(component (component $c) {})", many("(instance (instantiate $c))", 65)),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    for (code, text) in cases {
        let refused = sandbox.certify(&wat::parse_str(text).unwrap()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let exports: String = (0..1_001).map(|i| format!(r#"(export "{i}" (func $f))"#)).collect();
    let text = module(&format!("(func $f) {exports}"));
    assert_eq!(sandbox.certify(&wat::parse_str(text).unwrap()).await.unwrap_err().code(), "limit_exports");
    let large = vec![0; (8 << 20) + 1];
    assert_eq!(sandbox.certify(&large).await.unwrap_err().code(), "limit_component_bytes");
    still_certifies(&sandbox).await;
}

/// A function that the scan lets through only because its limits were raised: the limits of the process hold.
#[tokio::test]
async fn a_compile_bomb_dies_in_its_own_process() {
    let bomb = Transform::default()
        .with(&format!(
            "(func $one (result i32) (i32.const 1)) (func (result i32) {} {})",
            "(call $one)".repeat(40_000),
            "i32.add ".repeat(39_999)
        ))
        .component();
    let raise = |config: &mut SandboxConfig| {
        config.limits.component.stack_height = usize::MAX;
        config.limits.component.function_bytes = usize::MAX;
    };
    let slow = refusal_with(&bomb, |config| {
        raise(config);
        config.limits.compile.wall_ms = 3_000;
    });
    assert_eq!(slow.await.code(), "compile_timeout");
    let dear = refusal_with(&bomb, |config| {
        raise(config);
        config.limits.compile.cpu_seconds = 2;
    });
    assert_eq!(dear.await.code(), "compile_timeout");
    let fat = refusal_with(&bomb, |config| {
        raise(config);
        config.limits.compile.memory_bytes = 190 << 20;
    });
    assert_eq!(fat.await.code(), "compile_memory");
}

#[tokio::test]
async fn start_functions_describe_and_init_are_bounded() {
    let endless = "(loop $l (br $l))";
    let little = |config: &mut SandboxConfig| config.limits.compile.init_fuel = 10_000_000;
    let start = Transform::default().with(&format!("(func $start {endless}) (start $start)"));
    let refused = refusal_with(&start.component(), little).await;
    assert_eq!(refused.code(), "limit_fuel");
    assert!(refused.to_string().starts_with("`instantiation` was stopped"), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), little);
    let init = Transform { init: "(loop $l (br $l))", ..Transform::default() };
    let component = init.component();
    sandbox.certify(&component).await.unwrap();
    let refused = sandbox.image(&component, &json!({}), owner(), Grants::default()).await.unwrap_err();
    assert_eq!(refused.code(), "limit_fuel");
    assert!(refused.to_string().starts_with("`init` was stopped"), "{refused}");
    still_certifies(&sandbox).await;
}

#[tokio::test]
async fn a_refused_configuration_gives_the_plugins_own_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), |_| ());
    // The error is the word `keys` of the description.
    let guest = Transform {
        init: "(i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 522))
               (i32.store (i32.const 1032) (i32.const 4))",
        ..Transform::default()
    };
    let refused = sandbox.image(&guest.component(), &json!({}), owner(), Grants::default()).await.unwrap_err();
    assert_eq!(refused, Error::InitFailed { reason: "keys".to_owned() });
    let large = json!("x".repeat(300_000));
    assert_eq!(
        sandbox.image(&guest.component(), &large, owner(), Grants::default()).await.unwrap_err().code(),
        "limit_config_bytes"
    );
}

#[tokio::test]
async fn a_description_that_makes_no_sense_is_refused() {
    // Each writes over the texts of the description: schema, a name of a column, an output's name.
    for (at, bytes) in [(520, "[]"), (520, "x}"), (522, "kiss"), (532, "A"), (533, "a")] {
        let data = format!(r#"(data (i32.const {at}) "{bytes}")"#);
        let refused = refusal(&Transform::doing(IDENTITY).with(&data).component()).await;
        assert_eq!(refused.code(), "invalid_description", "{bytes}: {refused}");
    }
}

/// Functions with the right names and other types: found when it is uploaded, not when it is called.
#[tokio::test]
async fn functions_of_other_types_than_the_contracts_are_refused() {
    let packages = r#"package test:other;
        world other {
            include millstream:plugin/transform@0.1.0;
            export millstream:plugin/migration@9.0.0;
        }
        package millstream:plugin@9.0.0 { interface migration { migrate: func() -> u32; } }"#;
    let guest = Transform::default()
        .with(r#"(func (export "millstream:plugin/migration@9.0.0#migrate") (result i32) (i32.const 1))"#);
    let mut other = component_of("other", Some(packages), &guest.text());
    // Under the contract's own name.
    let (of, name) = (b"millstream:plugin/migration@9.0.0", b"millstream:plugin/migration@0.1.0");
    for at in 0..other.len() - of.len() {
        if other[at..].starts_with(of) {
            other[at..at + of.len()].copy_from_slice(name);
        }
    }
    let refused = refusal(&other).await;
    assert_eq!(refused.code(), "wrong_world");
    assert!(refused.to_string().contains("without a `migrate` of the contract"), "{refused}");
}
