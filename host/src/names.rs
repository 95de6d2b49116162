//! Names that were mistyped: the one that may have been meant.

/// The candidate that is nearest to what was written, if one is near.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(written, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_must_be_near() {
        assert_eq!(nearest("cuont", ["count", "filter"]), Some("count"));
        assert_eq!(nearest("xyz", ["count", "filter"]), None);
    }
}
