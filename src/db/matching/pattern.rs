//! LIKE patterns. They are escaped with `!`, said explicitly, so that no SQL mode changes what they mean.

use crate::dicom::person_name;

/// The pattern of a text in which nothing stands for anything else.
pub(in crate::db) fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern
}

/// The pattern of a text with DICOM's wild cards.
pub(super) fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '!' => pattern.extend(['!', c]),
            c => pattern.push(c),
        }
    }
    pattern
}

/// A text with this in it.
pub(super) fn containing(text: &str) -> String {
    format!("%{}%", like(text))
}

/// A pattern for person names, folded without its wild cards.
pub(super) fn fold_around_wild_cards(text: &str) -> String {
    let mut folded = String::new();
    let mut plain = String::new();
    let mut parts = text.chars().peekable();
    while let Some(c) = parts.next() {
        if is_wild(c) {
            push_folded(&mut folded, &plain, true);
            plain.clear();
            folded.push(c);
        } else {
            plain.push(c);
        }
        if parts.peek().is_none() {
            push_folded(&mut folded, &plain, false);
        }
    }
    folded
}

/// Folds a stretch between wild cards. A blank or a `^` at its ends parts words that folding alone would join: in
/// `DOE^*` what the star stands for is another component.
fn push_folded(folded: &mut String, plain: &str, wild_follows: bool) {
    let words = person_name::fold(plain);
    let parts = |c: Option<char>| c.is_some_and(|c| c == '^' || c.is_whitespace());
    if !folded.is_empty() && !words.is_empty() && parts(plain.chars().next()) {
        folded.push(' ');
    }
    folded.push_str(&words);
    if wild_follows && !words.is_empty() && parts(plain.chars().next_back()) {
        folded.push(' ');
    }
}

/// What a typed word becomes in a folded name: none, one, or several where it held punctuation.
pub(super) fn folded_words(word: &str) -> Vec<String> {
    fold_around_wild_cards(word)
        .split(' ')
        .filter(|part| part.chars().any(|c| !is_wild(c)))
        .map(str::to_owned)
        .collect()
}

/// What every text that the pattern matches begins with; empty where that can be anything.
pub(super) fn beginning(text: &str) -> &str {
    let end = text.find(is_wild).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

pub(super) fn is_wild(c: char) -> bool {
    matches!(c, '*' | '?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_like_is_escaped_and_dicoms_wild_cards_are_not() {
        assert_eq!(like("50%_!*?\\"), "50!%!_!!%_\\");
    }

    #[test]
    fn a_name_pattern_is_folded_between_its_wild_cards_and_keeps_its_components_apart() {
        for (pattern, folded) in [
            ("DOE*", "doe*"),
            ("DOE^J*", "doe j*"),
            ("DOE^*", "doe *"),
            ("*^Jane", "* jane"),
            ("Müller-L?d*", "muller l?d*"),
            ("*", "*"),
            ("O'NEILL^SEÁN", "oneill sean"),
            ("a*-*b", "a**b"),
        ] {
            assert_eq!(fold_around_wild_cards(pattern), folded, "{pattern}");
        }
    }

    #[test]
    fn the_beginning_ends_at_the_first_wild_card() {
        assert_eq!(beginning("smi?h*"), "smi");
        assert_eq!(beginning("*smith"), "");
        assert_eq!(beginning("smith"), "smith");
    }
}
