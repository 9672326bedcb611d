//! JSON objects under construction, PS3.18 F.2.2: a data set is one, with its attributes ordered by their names.
//!
//! They are written in the order in which elements come, which is the right one in all but broken data sets. Those are
//! put in order when they are complete; of several elements with one tag the first stays.

use dicom_core::{Tag, VR};

/// The text of a data set and of the items that are open in it.
pub(super) struct Objects<'o> {
    pub(super) out: &'o mut Vec<u8>,
    open: Vec<Object>,
    /// The attributes of all open objects, those of the innermost last.
    attributes: Vec<Attribute>,
}

struct Object {
    /// How many attributes there were before its first one.
    first: usize,
    ascending: bool,
}

#[derive(Clone, Copy)]
struct Attribute {
    tag: Tag,
    /// Where its text begins.
    start: usize,
}

impl<'o> Objects<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Objects { out, open: Vec::new(), attributes: Vec::new() }
    }

    /// Begins an object.
    pub(super) fn begin(&mut self) {
        self.out.push(b'{');
        self.open.push(Object { first: self.attributes.len(), ascending: true });
    }

    /// Begins an attribute of the innermost object: what it has beside its VR is to follow, and a closing brace.
    pub(super) fn attribute(&mut self, tag: Tag, vr: VR) {
        if let Some(object) = self.open.last_mut()
            && let Some(before) = self.attributes.get(object.first..).and_then(|all| all.last())
        {
            object.ascending &= before.tag < tag;
            self.out.push(b',');
        }
        self.attributes.push(Attribute { tag, start: self.out.len() });
        self.out.push(b'"');
        name(tag, self.out);
        self.out.extend_from_slice(b"\":{\"vr\":\"");
        self.out.extend(vr.to_bytes());
        self.out.push(b'"');
    }

    /// Ends the innermost object.
    pub(super) fn end(&mut self) {
        let Some(object) = self.open.pop() else { return };
        if !object.ascending {
            let attributes = self.attributes.get(object.first..).unwrap_or_default();
            let start = attributes.first().map_or(self.out.len(), |first| first.start);
            let ordered = ordered(attributes, self.out);
            self.out.truncate(start);
            self.out.extend(ordered);
        }
        self.attributes.truncate(object.first);
        self.out.push(b'}');
    }
}

/// The texts of these attributes, up to the end of all that was written, in the order of their tags.
fn ordered(attributes: &[Attribute], out: &[u8]) -> Vec<u8> {
    let ends = attributes.iter().skip(1).map(|next| next.start.saturating_sub(1)).chain([out.len()]);
    let mut texts: Vec<(Tag, &[u8])> = attributes
        .iter()
        .zip(ends)
        .map(|(attribute, end)| (attribute.tag, out.get(attribute.start..end).unwrap_or_default()))
        .collect();
    texts.sort_by_key(|&(tag, _)| tag);
    texts.dedup_by_key(|&mut (tag, _)| tag);
    let texts: Vec<&[u8]> = texts.into_iter().map(|(_, text)| text).collect();
    texts.join(&b","[..])
}

/// The tag as eight upper-case hexadecimal digits.
pub(super) fn name(tag: Tag, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for number in [tag.group(), tag.element()] {
        let digit = |shift: u16| DIGITS.get(usize::from(number >> shift & 0xF)).copied().unwrap_or(b'0');
        out.extend([12, 8, 4, 0].map(digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tags: &[(u16, u16)]) -> String {
        let mut out = b"[".to_vec();
        let mut objects = Objects::new(&mut out);
        objects.begin();
        for (number, &(group, element)) in tags.iter().enumerate() {
            objects.attribute(Tag(group, element), VR::SQ);
            objects.out.extend(format!(",{number}").bytes());
            objects.out.push(b'}');
        }
        objects.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn attributes_are_ordered_and_each_is_there_once() {
        assert_eq!(text(&[]), "[{}");
        assert_eq!(
            text(&[(0x0008, 0x0005), (0x7FE0, 0xABCD)]),
            r#"[{"00080005":{"vr":"SQ",0},"7FE0ABCD":{"vr":"SQ",1}}"#
        );
        assert_eq!(
            text(&[(9, 2), (9, 1), (9, 2), (8, 1)]),
            r#"[{"00080001":{"vr":"SQ",3},"00090001":{"vr":"SQ",1},"00090002":{"vr":"SQ",0}}"#
        );
    }

    #[test]
    fn an_item_in_disorder_leaves_what_is_around_it() {
        let mut out = Vec::new();
        let mut objects = Objects::new(&mut out);
        objects.begin();
        objects.attribute(Tag(1, 1), VR::SQ);
        objects.out.push(b'[');
        objects.begin();
        for element in [2, 1] {
            objects.attribute(Tag(1, element), VR::UN);
            objects.out.push(b'}');
        }
        objects.end();
        objects.out.extend(b"]}");
        objects.attribute(Tag(1, 2), VR::UN);
        objects.out.push(b'}');
        objects.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"00010001":{"vr":"SQ"[{"00010001":{"vr":"UN"},"00010002":{"vr":"UN"}}]},"00010002":{"vr":"UN"}}"#
        );
    }
}
