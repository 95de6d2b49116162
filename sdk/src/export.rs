//! What the attribute macros call to export a plugin.
//!
//! Natively there is nothing to export; the plugin then can be made of its configuration by a test.

/// Exports the type as a plugin of the world `transform`, `aggregate` or `process`.
#[macro_export]
#[doc(hidden)]
macro_rules! __export {
    (transform $plugin:ty) => {
        $crate::__export!(@native $plugin, <$plugin as $crate::Transform>::new);
        $crate::__drive!(transform $plugin);
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
        $crate::__drive!(aggregate $plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export!(@slot $plugin);
            type Exports = $crate::guest::Aggregator<$plugin>;
            $crate::guest::lifecycle::export_lifecycle!(Exports with_types_in $crate::guest::lifecycle);
            $crate::guest::aggregator::export_aggregator!(Exports with_types_in $crate::guest::aggregator);
        };
    };
    (process $plugin:ty) => {
        $crate::__export!(@native $plugin, <$plugin as $crate::Process>::new);
        $crate::__drive!(process $plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export!(@slot $plugin);
            type Exports = $crate::guest::Processor<$plugin>;
            $crate::guest::lifecycle::export_lifecycle!(Exports with_types_in $crate::guest::lifecycle);
            $crate::guest::processor::export_processor!(Exports with_types_in $crate::guest::processor);
        };
    };
    (migrate process $plugin:ty) => {
        $crate::__drive!(migrate $plugin, migrate_states);
        $crate::__export!(@migration $plugin, MigratedState, migrate_state);
    };
    (migrate aggregate $plugin:ty) => {
        $crate::__drive!(migrate $plugin, migrate_accumulators);
        $crate::__export!(@migration $plugin, MigratedAccumulator, migrate_accumulator);
    };
    (@migration $plugin:ty, $exports:ident, $natively:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exports = $crate::guest::$exports<$plugin>;
            $crate::guest::migration::export_migration!(Exports with_types_in $crate::guest::migration);
        };
        // Natively too, what is kept must be what the plugin migrates.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$plugin, &str, &[u8]) -> ::core::result::Result<
            ::core::option::Option<::std::vec::Vec<u8>>,
            ::std::string::String,
        > = $crate::testing::$natively::<$plugin>;
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

/// Lets [`testing::TestDriver`](crate::testing::TestDriver) run the plugin.
#[cfg(all(feature = "driver", not(target_arch = "wasm32")))]
#[macro_export]
#[doc(hidden)]
macro_rules! __drive {
    (migrate $plugin:ty, $migrate:ident) => {
        impl $crate::testing::native::Migrates for $plugin {
            fn migration() -> $crate::testing::native::Migration<Self> {
                $crate::testing::native::$migrate::<Self>
            }
        }
    };
    ($world:ident $plugin:ty) => {
        impl $crate::testing::Drivable for $plugin {
            fn world() -> $crate::testing::native::World<Self> {
                $crate::testing::native::World::$world()
            }

            fn migration() -> ::core::option::Option<$crate::testing::native::Migration<Self>> {
                // The first of these is found only where `Migrates` is implemented.
                use $crate::testing::native::probe::*;
                (&Probe::<Self>::NEW).find()
            }
        }
    };
}

/// There is no driver to run it.
#[cfg(not(all(feature = "driver", not(target_arch = "wasm32"))))]
#[macro_export]
#[doc(hidden)]
macro_rules! __drive {
    ($($plugin:tt)*) => {};
}
