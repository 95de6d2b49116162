//! Parts of a request as types: names that are names, queries without unknown keys. What does not fit is a problem that
//! says which part.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::{Error, Problem};

/// The names in the path.
#[derive(Debug)]
pub(super) struct ValidPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ValidPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(names) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error| Error::invalid(format!("path `{}`", parts.uri.path()), error.body_text()))?;
        Ok(Self(names))
    }
}

/// The query. Its type refuses unknown keys.
#[derive(Debug)]
pub(super) struct ValidQuery<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ValidQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<T>::from_request_parts(parts, state).await.map_err(|error| {
            Error::invalid(format!("query `{}`", parts.uri.query().unwrap_or_default()), error.body_text())
        })?;
        Ok(Self(query))
    }
}
