//! `#[config]`: what serde and schemars need to know of a configuration.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

pub(crate) fn expand(arguments: TokenStream, item: &DeriveInput) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(
            arguments,
            "`#[config]` takes no arguments; serde's attributes go below it",
        ));
    }
    Ok(quote! {
        #[derive(Debug, Clone, ::millstream_sdk::serde::Deserialize, ::millstream_sdk::schemars::JsonSchema)]
        #[serde(crate = "::millstream_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "::millstream_sdk::schemars")]
        #item
    })
}
