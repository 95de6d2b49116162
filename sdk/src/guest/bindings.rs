//! What wit-bindgen makes of the contract; nothing else names it outside [`guest`](super).
//!
//! One module an exported interface, because macros of one name can be exported once only, and all worlds of the contract
//! export `lifecycle`. A plugin exports two or three of them, and the component then has the union of their worlds:
//! `transform`, `aggregate` or `process`. Types and host functions that every plugin has exist once, in the first module;
//! those that need a grant are in the last one, and in the component only if the plugin calls them.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::all,
    clippy::unwrap_used,
    reason = "generated"
)]

pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world lifecycle {
                import millstream:plugin/log@0.1.0;
                import millstream:plugin/metrics@0.1.0;
                import millstream:plugin/emission@0.1.0;
                export millstream:plugin/lifecycle@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "millstream_sdk::guest::lifecycle",
        generate_all,
    });
}

pub mod transformer {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world transformer {
                export millstream:plugin/transformer@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_transformer",
        default_bindings_module: "millstream_sdk::guest::transformer",
        with: { "millstream:plugin/types@0.1.0": super::lifecycle::millstream::plugin::types },
    });
}

pub mod aggregator {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world aggregator {
                export millstream:plugin/aggregator@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_aggregator",
        default_bindings_module: "millstream_sdk::guest::aggregator",
        with: { "millstream:plugin/types@0.1.0": super::lifecycle::millstream::plugin::types },
    });
}

pub mod processor {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world processor {
                export millstream:plugin/processor@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_processor",
        default_bindings_module: "millstream_sdk::guest::processor",
        with: { "millstream:plugin/types@0.1.0": super::lifecycle::millstream::plugin::types },
    });
}

pub mod migration {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world migration {
                export millstream:plugin/migration@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_migration",
        default_bindings_module: "millstream_sdk::guest::migration",
        with: { "millstream:plugin/types@0.1.0": super::lifecycle::millstream::plugin::types },
    });
}

pub mod granted {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package millstream:guest;
            world granted {
                import millstream:plugin/pages@0.1.0;
                import millstream:plugin/table@0.1.0;
                import millstream:plugin/lookup@0.1.0;
            }
        ",
        default_bindings_module: "millstream_sdk::guest::granted",
        with: { "millstream:plugin/types@0.1.0": super::lifecycle::millstream::plugin::types },
        generate_all,
    });
}
