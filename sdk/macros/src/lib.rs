//! The macros of `millstream-sdk`, which re-exports and documents them by example.
//!
//! `#[transform]`, `#[aggregate]` and `#[process]` turn a function or an `impl` into a plugin, `#[config]` a struct into
//! its configuration, `#[derive(Accumulator)]` and `#[derive(State)]` a struct into one that the host can keep.

mod accumulator;
mod arguments;
mod config;
mod plugin;
mod state;
mod transform;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a plugin of rows in, rows out: of a function, or of an `impl Transform`.
///
/// The doc comment becomes the plugin's summary. A first parameter taken by reference, other than `&str` and `&[u8]`, is
/// the configuration; every other one is read from the record. The plugin's type has the function's name in camel case.
///
/// `#[transform(outputs(ok = "Rows that fit.", late = "Rows that came too late."))]` names the outputs.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let item = parse_macro_input!(item as syn::Item);
    transform::expand(&arguments, item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a plugin that folds the rows of a key and window of an `impl Aggregate`.
///
/// The doc comment becomes the plugin's summary; `outputs(..)` names the outputs, as for `#[transform]`. With `migrate`
/// the plugin also takes over what other versions accumulated, by its `impl Migrate`.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let item = parse_macro_input!(item as syn::ItemImpl);
    plugin::expand(&arguments, item, &plugin::AGGREGATE).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a plugin that keeps state and timers for each key, of an `impl Process`.
///
/// The doc comment becomes the plugin's summary; `outputs(..)` names the outputs, as for `#[transform]`. With `migrate`
/// the plugin also takes over the state of other versions, by its `impl Migrate`.
#[proc_macro_attribute]
pub fn process(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let item = parse_macro_input!(item as syn::ItemImpl);
    plugin::expand(&arguments, item, &plugin::PROCESS).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct or enum a plugin's configuration: read by serde, described by a JSON Schema, unknown keys refused.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    config::expand(arguments.into(), &item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Writes the fields of a struct one after another, so that the host can keep it.
#[proc_macro_derive(Accumulator)]
pub fn accumulator(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    accumulator::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct of parts the state of a key. The struct also needs `Debug` and `Default`.
#[proc_macro_derive(State)]
pub fn state(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    state::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}
