//! The header fields of one message, in their order.

use std::borrow::Cow;

/// A header field (RFC 9110, 5). In HTTP/2 also a pseudo-field (RFC 9113, 8.3), whose name begins with a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As it was sent: HTTP/1 in any case, HTTP/2 in lower case.
    pub name: &'a [u8],
    /// Without the spaces around it.
    pub value: &'a [u8],
    /// No compression may index it (RFC 7541, 7.1.3). False in HTTP/1.
    pub never_indexed: bool,
}

/// All header fields of a head, in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// Where a field lies in the text: its name, and its value behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u32,
    name: u32,
    value: u32,
    never_indexed: bool,
}

impl Fields {
    /// Adds one behind the others.
    pub fn push(&mut self, field: Field<'_>) {
        let Field { name, value, never_indexed } = field;
        let place = Place {
            at: self.text.len() as u32,
            name: name.len() as u32,
            value: value.len() as u32,
            never_indexed,
        };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.places.push(place);
    }

    /// Adds what a folded line says to the last one, behind a space (RFC 9112, 5.2).
    pub fn fold(&mut self, more: &[u8]) {
        let Some(last) = self.places.last_mut() else { return };
        let end = self.text.len();
        if last.value > 0 {
            self.text.push(b' ');
        }
        self.text.extend_from_slice(more);
        last.value += (self.text.len() - end) as u32;
    }

    /// In the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.places.iter().map(|place| self.at(place))
    }

    fn at(&self, place: &Place) -> Field<'_> {
        let at = place.at as usize;
        let (name, rest) = self.text[at..].split_at(place.name as usize);
        Field { name, value: &rest[..place.value as usize], never_indexed: place.never_indexed }
    }

    /// The values of all fields of this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        // Most names differ in length, which needs no look at the text.
        let of_length = self.places.iter().filter(move |place| place.name as usize == name.len());
        let same = move |field: &Field<'_>| is_name(field.name, name);
        of_length.map(|place| self.at(place)).filter(same).map(|field| field.value)
    }

    /// The value of the first field of this name.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Forgets all of them; the memory stays.
    pub fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes of memory that they hold beside their own size.
    pub fn memory(&self) -> usize {
        let Self { text, places } = self;
        text.capacity() + places.capacity() * size_of::<Place>()
    }
}

/// A field's name is this one (RFC 9110, 5.1: case does not count). Most are longer than a word, and a word at a time takes a quarter of what a
/// byte at a time does.
pub(crate) fn is_name(name: &[u8], known: &str) -> bool {
    let known = known.as_bytes();
    if name.len() != known.len() {
        return false;
    }
    match (name.last_chunk(), known.last_chunk()) {
        (Some(last), Some(known_last)) => {
            let mut words = name.as_chunks().0.iter().zip(known.as_chunks().0);
            is_word(*last, *known_last) && words.all(|(name, known)| is_word(*name, *known))
        }
        _ => name.eq_ignore_ascii_case(known),
    }
}

/// Eight bytes are the same but for case. Most words differ in more, or in nothing.
fn is_word(one: [u8; 8], other: [u8; 8]) -> bool {
    const CASE: u64 = 0x20 * EACH;
    let (one, other) = (u64::from_le_bytes(one), u64::from_le_bytes(other));
    let differs = one ^ other;
    differs == 0 || (differs & !CASE == 0 && lower_case(one) == lower_case(other))
}

/// One in each byte of a word.
const EACH: u64 = u64::MAX / 0xff;

/// Letters of ASCII in lower case.
fn lower_case(word: u64) -> u64 {
    const HIGH: u64 = 0x80 * EACH;
    // The highest bit of each byte: it is at least so large. What is not ASCII has none.
    let low = word & !HIGH;
    let from_a = low + (0x80 - u64::from(b'A')) * EACH;
    let beyond_z = low + (0x7f - u64::from(b'Z')) * EACH;
    let is_letter = (from_a ^ beyond_z) & !word & HIGH;
    // 0x80 to 0x20, by which they differ.
    word | is_letter >> 2
}

/// What a peer has sent as text; what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Nearly all of it is, and this looks at many bytes at once.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A byte that names of fields and methods may have (RFC 9110, 5.6.2).
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric()
            || matches!(
                letter,
                b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let all: Vec<u8> = (0..=255).filter(|&byte| is_token(byte)).collect();
        let others = &b"!#$%&'*+-.^_`|~"[..];
        assert_eq!(all.len(), 26 + 26 + 10 + others.len());
        assert!(all.iter().all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte)));
    }

    #[test]
    fn names_are_compared_without_case() {
        for byte in 0..=255 {
            let word =
                lower_case(u64::from_le_bytes([byte, b'A', byte, b'Z', 0, 0xff, byte, b'@'])).to_le_bytes();
            let low = byte.to_ascii_lowercase();
            assert_eq!(word, [low, b'a', low, b'z', 0, 0xff, low, b'@'], "{byte:#x}");
        }
        let known = "transfer-encoding-17";
        for len in 0..=known.len() {
            let (known, mut name) = (&known[..len], known[..len].to_ascii_uppercase().into_bytes());
            assert!(is_name(&name, known) && !is_name(&name, "transfer-encoding-17x"), "{len}");
            assert!(is_name(known.as_bytes(), str::from_utf8(&name).unwrap()), "{len}: capitals here");
            for at in 0..len {
                let before = std::mem::replace(&mut name[at], b'_');
                assert!(!is_name(&name, known), "{len} {at}");
                name[at] = before;
            }
        }
    }

    #[test]
    fn fields_come_back_in_their_order() {
        let mut fields = Fields::default();
        for (name, value) in [("Host", "a"), ("Cookie", ""), ("X", "1"), ("x", "2")] {
            fields.push(Field {
                name: name.as_bytes(),
                value: value.as_bytes(),
                never_indexed: name == "Cookie",
            });
        }
        assert_eq!((fields.len(), fields.bytes()), (4, 15));
        assert_eq!(fields.values("x").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(
            (fields.value("host"), fields.value("cookie"), fields.value("y")),
            (Some(&b"a"[..]), Some(&b""[..]), None)
        );
        let marked: Vec<_> =
            fields.iter().filter(|field| field.never_indexed).map(|field| field.name).collect();
        assert_eq!(marked, [b"Cookie"]);
        fields.fold(b"3");
        fields.fold(b"4");
        assert_eq!(fields.values("x").collect::<Vec<_>>(), [&b"1"[..], b"2 3 4"]);
        fields.push(Field { name: b"Y", value: b"", never_indexed: false });
        fields.fold(b"5");
        assert_eq!((fields.value("y"), fields.len()), (Some(&b"5"[..]), 5));
        fields.clear();
        fields.fold(b"6");
        assert!(fields.is_empty() && fields.memory() > 0);
    }
}
