//! Changes of seeds: the same ones every time.

use std::ops::Range;

/// What values at the edge of something look like, in JSON and in RON.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "-0",
    "1.0",
    "1e3",
    "30",
    "128",
    "129",
    "256",
    "1000",
    "1001",
    "4294967295",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "-9007199254740991",
    "-9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "\"a\"",
    "\"A\"",
    "\" \"",
    "\"EUR\"",
    "\"XYZ\"",
    "\"0.1\"",
    "\"00112233445566778899aabbccddeeff\"",
    "\"00112233445566778899AABBCCDDEEFF\"",
    "\"UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4\"",
    "\"UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o5\"",
    "\"aVBtapLd11SUVKIMGJfPzOEDuN0sXcmzJQNVT-_sKEU\"",
];

/// What makes changed inputs from seeds.
pub struct Changes {
    random: Random,
    /// Words and edges, and whatever the seeds themselves are made of.
    parts: Vec<Vec<u8>>,
}

impl Changes {
    pub fn new<'a>(seeds: impl Iterator<Item = &'a [u8]>, words: Vec<Vec<u8>>) -> Self {
        let mut own: Vec<_> = seeds.flat_map(|seed| parts(seed).into_iter().map(|part| seed[part].to_vec())).collect();
        own.sort();
        own.dedup();
        // Half of what is put in are words and edges, however much there is in the seeds.
        let known: Vec<_> = VALUES.iter().map(|value| value.as_bytes().to_vec()).chain(words).collect();
        let often = own.len() / known.len() + 1;
        let known = std::iter::repeat_n(known, often).flatten();
        Self { random: Random(20_260_101), parts: known.chain(own).collect() }
    }

    /// The next change of `seed`.
    pub fn of(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.random.below(3) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let parts = parts(bytes);
        if parts.is_empty() {
            return;
        }
        let place = self.random.below(parts.len());
        let part = parts[place].clone();
        match self.random.below(8) {
            // A part, and most of all a value, becomes another one.
            0..=2 => {
                let other = self.part();
                bytes.splice(part, other);
            }
            3 => {
                let other = self.part();
                bytes.splice(part.start..part.start, other);
            }
            // A few parts go, as a member with its value and a comma.
            4 => {
                let last = (place + self.random.below(5)).min(parts.len() - 1);
                bytes.drain(part.start..parts[last].end);
            }
            // A few parts come again.
            5 => {
                let last = (place + self.random.below(5)).min(parts.len() - 1);
                let again = bytes[part.start..parts[last].end].to_vec();
                bytes.splice(part.start..part.start, again);
            }
            // A line comes again elsewhere.
            6 => {
                let lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (self.random.below(lines.len()), self.random.below(lines.len()));
                let place = lines[..to].iter().map(Vec::len).sum::<usize>();
                bytes.splice(place..place, lines[from].clone());
            }
            _ => {
                let place = self.random.below(bytes.len());
                bytes[place] ^= 1 << self.random.below(8);
            }
        }
    }

    fn part(&mut self) -> Vec<u8> {
        let place = self.random.below(self.parts.len());
        self.parts[place].clone()
    }
}

/// Where the parts of an input are: strings in quotes, names and numbers, and every other byte by itself.
fn parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let is_of_a_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let length = match rest[0] {
            b'"' => rest[1..].iter().position(|&byte| byte == b'"').map_or(1, |quote| quote + 2),
            _ => rest.iter().take_while(|byte| is_of_a_word(byte)).count().max(1),
        };
        parts.push(start..start + length);
        start += length;
    }
    parts
}

/// SplitMix64: numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        number % bound.max(1)
    }
}
