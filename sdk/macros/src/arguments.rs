//! The arguments of the attributes: `outputs(name = "summary", "other-name" = "summary")` and `migrate`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitStr, Token, parenthesized};

/// What stands in the attribute's brackets.
#[derive(Default)]
pub(crate) struct Arguments {
    outputs: Vec<Output>,
    migrate: Option<Ident>,
}

struct Output {
    name: LitStr,
    summary: LitStr,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            if word == "migrate" && arguments.migrate.is_none() {
                arguments.migrate = Some(word);
            } else if word == "outputs" && arguments.outputs.is_empty() {
                arguments.outputs = outputs(input)?;
            } else {
                let expected = "expected `outputs(name = \"what leaves here\", ..)` or `migrate`, once";
                return Err(syn::Error::new(word.span(), expected));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn outputs(input: ParseStream<'_>) -> syn::Result<Vec<Output>> {
    let list;
    parenthesized!(list in input);
    let outputs: Vec<Output> = Punctuated::<Output, Token![,]>::parse_terminated(&list)?.into_iter().collect();
    for (place, output) in outputs.iter().enumerate() {
        if outputs.iter().take(place).any(|earlier| earlier.name.value() == output.name.value()) {
            return Err(syn::Error::new(output.name.span(), "this output is named twice"));
        }
    }
    Ok(outputs)
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
    /// The word `migrate`, if it is there.
    pub(crate) fn migrate(&self) -> Option<&Ident> {
        self.migrate.as_ref()
    }

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
