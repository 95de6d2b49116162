//! What the attribute macros call to export a plugin.
//!
//! Natively there is nothing to export; the plugin then can be made of its configuration by a test.

/// Exports the type as a plugin of the world `transform` or `aggregate`.
#[macro_export]
#[doc(hidden)]
macro_rules! __export {
    (transform $plugin:ty) => {
        $crate::__export!(@native $plugin, <$plugin as $crate::Transform>::new);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export!(@slot $plugin);
            type Exports = $crate::guest::Transformer<$plugin>;
            $crate::guest::lifecycle::export_lifecycle!(Exports with_types_in $crate::guest::lifecycle);
            $crate::guest::transformer::export_transformer!(Exports with_types_in $crate::guest::transformer);
        };
    };
    (aggregate $plugin:ty) => {
        $crate::__export!(@native $plugin, <$plugin as $crate::Aggregate>::new);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export!(@slot $plugin);
            type Exports = $crate::guest::Aggregator<$plugin>;
            $crate::guest::lifecycle::export_lifecycle!(Exports with_types_in $crate::guest::lifecycle);
            $crate::guest::aggregator::export_aggregator!(Exports with_types_in $crate::guest::aggregator);
        };
    };
    (@native $plugin:ty, $new:expr) => {
        #[cfg(not(target_arch = "wasm32"))]
        impl $crate::testing::FromConfig for $plugin {
            fn from_config(text: &str) -> ::core::result::Result<Self, ::std::string::String> {
                $crate::testing::prepare(text, $new)
            }
        }
        // A plugin is used by what it exports: without exports, this keeps it from counting as dead code.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> ::core::result::Result<$plugin, ::std::string::String> =
            $crate::testing::plugin::<$plugin>;
    };
    (@slot $plugin:ty) => {
        static SLOT: ::std::sync::OnceLock<$plugin> = ::std::sync::OnceLock::new();
        impl $crate::guest::Plugin for $plugin {
            fn slot() -> &'static ::std::sync::OnceLock<Self> {
                &SLOT
            }
        }
    };
}
