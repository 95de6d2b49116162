//! `#[transform]` on a function: a type that calls it for each record.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{FnArg, Item, ItemFn, Type, TypeReference};

use crate::arguments::Arguments;
use crate::plugin::{self, TRANSFORM};

pub(crate) fn expand(arguments: &Arguments, item: Item) -> syn::Result<TokenStream> {
    match item {
        Item::Fn(function) => of_function(arguments, &function),
        Item::Impl(item) => plugin::expand(arguments, item, &TRANSFORM),
        other => {
            Err(syn::Error::new_spanned(other, "`#[transform]` stands on a function or an `impl Transform for ..`"))
        }
    }
}

fn of_function(arguments: &Arguments, function: &ItemFn) -> syn::Result<TokenStream> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(syn::Error::new_spanned(token, "a plugin waits for nothing: the function is not `async`"));
    }
    if signature.generics.type_params().next().is_some() || signature.generics.const_params().next().is_some() {
        return Err(syn::Error::new_spanned(&signature.generics, "a plugin is one function, without type parameters"));
    }
    if let Some(word) = arguments.migrate() {
        return Err(syn::Error::new_spanned(word, "a transform keeps nothing that could be migrated"));
    }
    let summary = plugin::summary(&function.attrs, &signature.ident)?;
    let outputs = arguments.outputs_const();
    let parameters = signature.inputs.iter().map(parameter).collect::<syn::Result<Vec<_>>>()?;
    let (config, inputs) = match parameters.split_first() {
        Some((first, inputs)) if let Some(config) = configuration(first) => (Some(config), inputs),
        _ => (None, parameters.as_slice()),
    };
    let reads: Vec<_> = inputs.iter().map(|input| any_lifetime(input.to_token_stream())).collect();
    let calls = inputs.iter().map(|_| quote!(record.read()?));
    let config_argument = config.map(|_| quote!(&self.config,));
    let config = config.map_or_else(|| quote!(::millstream_sdk::NoConfig), ToTokens::to_token_stream);
    let name = &signature.ident;
    let plugin = format_ident!("{}", camel_case(name), span = name.span());
    let visibility = &function.vis;
    let documentation = format!("The plugin of the function `{name}`.");
    Ok(quote! {
        #function

        #[doc = #documentation]
        #[derive(Debug)]
        #visibility struct #plugin {
            #[allow(dead_code, reason = "a function need not take its configuration")]
            config: #config,
        }

        impl ::millstream_sdk::Transform for #plugin {
            const SUMMARY: &'static str = #summary;
            #outputs
            const READS: ::millstream_sdk::Reads = ::millstream_sdk::Reads::NONE
                #(.and(<#reads as ::millstream_sdk::FromRecord<'_>>::READS))*;
            type Config = #config;
            type Input<'a> = ::millstream_sdk::Record<'a>;

            fn new(config: #config) -> ::millstream_sdk::Result<Self> {
                ::core::result::Result::Ok(Self { config })
            }

            #[inline]
            fn record(
                &self,
                record: ::millstream_sdk::Record<'_>,
                out: &mut ::millstream_sdk::Out<'_, '_>,
            ) -> ::millstream_sdk::Result<()> {
                out.emit(#name(#config_argument #(#calls),*))
            }
        }

        ::millstream_sdk::__export!(transform #plugin);
    })
}

fn parameter(argument: &FnArg) -> syn::Result<&Type> {
    match argument {
        FnArg::Typed(argument) => Ok(&argument.ty),
        FnArg::Receiver(receiver) => {
            Err(syn::Error::new_spanned(receiver, "a function that is a plugin stands by itself, outside of an `impl`"))
        }
    }
}

/// The configuration's type, if this parameter is one: a reference to a named type other than `str`.
fn configuration(parameter: &Type) -> Option<&Type> {
    let Type::Reference(TypeReference { elem, .. }) = parameter else { return None };
    matches!(&**elem, Type::Path(path) if !path.path.is_ident("str")).then_some(&**elem)
}

/// The type with every lifetime left to the compiler: those that the function names mean nothing outside of it.
fn any_lifetime(tokens: TokenStream) -> TokenStream {
    let mut after_apostrophe = false;
    let tokens = tokens.into_iter().map(|token| {
        let lifetime =
            std::mem::replace(&mut after_apostrophe, matches!(&token, TokenTree::Punct(p) if p.as_char() == '\''));
        match token {
            TokenTree::Ident(name) if lifetime && name != "static" => TokenTree::Ident(Ident::new("_", name.span())),
            TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), any_lifetime(group.stream()))),
            other => other,
        }
    });
    tokens.collect()
}

fn camel_case(name: &Ident) -> String {
    let name = name.to_string();
    let words = name.trim_start_matches("r#").split('_');
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<Vec<_>>()
        })
        .collect()
}
