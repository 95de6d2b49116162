//! The arguments of the attributes: `outputs(name = "summary", "other-name" = "summary")`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitStr, Token, parenthesized};

/// What stands in the attribute's brackets.
pub(crate) struct Arguments {
    outputs: Vec<Output>,
}

struct Output {
    name: LitStr,
    summary: LitStr,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Ok(Self { outputs: Vec::new() });
        }
        let word: Ident = input.parse()?;
        if word != "outputs" {
            return Err(syn::Error::new(word.span(), "expected `outputs(name = \"what leaves here\", ..)`"));
        }
        let list;
        parenthesized!(list in input);
        let outputs: Vec<Output> = Punctuated::<Output, Token![,]>::parse_terminated(&list)?.into_iter().collect();
        for (place, output) in outputs.iter().enumerate() {
            if outputs.iter().take(place).any(|earlier| earlier.name.value() == output.name.value()) {
                return Err(syn::Error::new(output.name.span(), "this output is named twice"));
            }
        }
        if !input.is_empty() {
            return Err(input.error("nothing is expected here"));
        }
        Ok(Self { outputs })
    }
}

impl Parse for Output {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = if input.peek(LitStr) {
            input.parse()?
        } else {
            let name = input.call(Ident::parse_any)?;
            LitStr::new(&name.to_string(), name.span())
        };
        input.parse::<Token![=]>()?;
        Ok(Self { name, summary: input.parse()? })
    }
}

impl Arguments {
    /// The constant of the outputs; nothing, and so the trait's own, where none are named.
    pub(crate) fn outputs_const(&self) -> Option<TokenStream> {
        if self.outputs.is_empty() {
            return None;
        }
        let names = self.outputs.iter().map(|output| &output.name);
        let summaries = self.outputs.iter().map(|output| &output.summary);
        Some(quote! {
            const OUTPUTS: &'static [::millstream_sdk::Output] =
                &[#(::millstream_sdk::Output::new(#names, #summaries)),*];
        })
    }
}
