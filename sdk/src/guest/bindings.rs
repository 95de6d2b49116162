//! What wit-bindgen makes of the contract; nothing else names it outside [`guest`](super).
//!
//! One module an exported interface, because macros of one name can be exported once only, and both worlds of the
//! contract export `lifecycle`. A plugin exports two of the three, and the component then has the union of their worlds:
//! `transform` or `aggregate`. Types and host functions exist once, in the first module.

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
