//! `#[derive(State)]`: what is asked of the struct is asked of its fields one after another.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Member};

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        return Err(syn::Error::new_spanned(&item.ident, "`State` is derived for structs only"));
    };
    let name = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let members: Vec<Member> = data.fields.members().collect();
    let state = quote!(::millstream_sdk::State);
    let earlier = |function| {
        let times = members.iter().map(|member| quote!(#state::#function(&self.#member, _domain)));
        quote! {
            let times: &[::core::option::Option<i64>] = &[#(#times),*];
            times.iter().flatten().copied().min()
        }
    };
    let (written, earliest) = (earlier(quote!(written)), earlier(quote!(earliest)));
    Ok(quote! {
        impl #generics #state for #name #arguments #bounds {
            fn is_empty(&self) -> bool {
                true #(&& #state::is_empty(&self.#members))*
            }

            fn encode(&mut self, _writer: &mut ::millstream_sdk::state::Writer<'_>) {
                #(#state::encode(&mut self.#members, _writer);)*
            }

            fn decode(&mut self, _reader: &mut ::millstream_sdk::state::Reader<'_>) -> ::core::option::Option<()> {
                #(#state::decode(&mut self.#members, _reader)?;)*
                ::core::option::Option::Some(())
            }

            fn begin(&mut self, _now: &::millstream_sdk::state::Now) {
                #(#state::begin(&mut self.#members, _now);)*
            }

            fn undo(&mut self) {
                #(#state::undo(&mut self.#members);)*
            }

            fn lives(&self, _domain: ::millstream_sdk::Domain) -> bool {
                false #(|| #state::lives(&self.#members, _domain))*
            }

            fn written(&self, _domain: ::millstream_sdk::Domain) -> ::core::option::Option<i64> {
                #written
            }

            fn earliest(&self, _domain: ::millstream_sdk::Domain) -> ::core::option::Option<i64> {
                #earliest
            }
        }
    })
}
