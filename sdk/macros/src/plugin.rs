//! A plugin of an `impl` of one of the traits: its doc comment, its outputs, its exports.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, Expr, ExprLit, ImplItem, ItemImpl, Lit, LitStr, Meta, parse_quote};

use crate::arguments::Arguments;

/// One of the traits.
pub(crate) struct Kind {
    trait_name: &'static str,
    world: &'static str,
}

pub(crate) const TRANSFORM: Kind = Kind { trait_name: "Transform", world: "transform" };
pub(crate) const AGGREGATE: Kind = Kind { trait_name: "Aggregate", world: "aggregate" };
pub(crate) const PROCESS: Kind = Kind { trait_name: "Process", world: "process" };

pub(crate) fn expand(arguments: &Arguments, mut item: ItemImpl, kind: &Kind) -> syn::Result<TokenStream> {
    let trait_name = kind.trait_name;
    let implements = item
        .trait_
        .as_ref()
        .is_some_and(|(_, path, _)| path.segments.last().is_some_and(|last| last.ident == trait_name));
    if !implements {
        let message = format!("`#[{}]` stands on an `impl {trait_name} for ..`", kind.world);
        return Err(syn::Error::new_spanned(&item.self_ty, message));
    }
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(&item.generics, "a plugin is one type, without parameters"));
    }
    let has_const = |item: &ItemImpl, name| {
        item.items.iter().any(|part| matches!(part, ImplItem::Const(part) if part.ident == name))
    };
    if !has_const(&item, "SUMMARY") {
        let summary = summary(&item.attrs, &item.self_ty)?;
        item.items.push(parse_quote!(const SUMMARY: &'static str = #summary;));
    }
    if let Some(outputs) = arguments.outputs_const() {
        if has_const(&item, "OUTPUTS") {
            return Err(syn::Error::new_spanned(
                &item.self_ty,
                "outputs are named in the attribute or in `OUTPUTS`, not in both",
            ));
        }
        item.items.push(ImplItem::Verbatim(outputs));
    }
    let plugin = &item.self_ty;
    let world = Ident::new(kind.world, Span::call_site());
    let migration = match arguments.migrate() {
        Some(word) if world == "transform" => {
            return Err(syn::Error::new_spanned(word, "a transform keeps nothing that could be migrated"));
        }
        Some(word) => Some(quote!(::millstream_sdk::__export!(#word #world #plugin);)),
        None => None,
    };
    Ok(quote! {
        #item
        ::millstream_sdk::__export!(#world #plugin);
        #migration
    })
}

/// The first paragraph of the doc comment, in one line.
pub(crate) fn summary(attributes: &[Attribute], place: &impl quote::ToTokens) -> syn::Result<LitStr> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text: Vec<String> =
        lines.flat_map(|block| block.split('\n').map(|line| line.trim().to_owned()).collect::<Vec<_>>()).collect();
    let paragraph = text.iter().skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let summary = paragraph.map(String::as_str).collect::<Vec<_>>().join(" ");
    if summary.is_empty() {
        return Err(syn::Error::new_spanned(
            place,
            "a plugin has a doc comment: it becomes the summary that users see",
        ));
    }
    Ok(LitStr::new(&summary, Span::call_site()))
}
