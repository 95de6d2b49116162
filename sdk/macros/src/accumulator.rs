//! `#[derive(Accumulator)]`: the fields one after another.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Member};

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        return Err(syn::Error::new_spanned(&item.ident, "`Accumulator` is derived for structs only"));
    };
    let name = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let members: Vec<Member> = data.fields.members().collect();
    let types = data.fields.iter().map(|field| &field.ty);
    Ok(quote! {
        impl #generics ::millstream_sdk::Accumulator for #name #arguments #bounds {
            #[inline]
            fn encode(&self, into: &mut ::std::vec::Vec<u8>) {
                #(::millstream_sdk::Accumulator::encode(&self.#members, into);)*
            }

            #[inline]
            fn decode(from: &mut &[u8]) -> ::core::option::Option<Self> {
                ::core::option::Option::Some(Self {
                    #(#members: <#types as ::millstream_sdk::Accumulator>::decode(from)?,)*
                })
            }
        }
    })
}
