//! Base64url without padding (RFC 4648, section 5), as JWS wants it: every text of it has one meaning, and every meaning one
//! text.
//!
//! For what everybody may read. It is quick, and takes another time for other bytes: secret keys are written and read in
//! constant time instead.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Nothing if the text has padding, other letters, or bits that are left over and not zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The same for exactly 32 bytes.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == 32).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).map(|number: u8| number.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
        assert_eq!(decode_32(&encode(&[0xfb; 32])), Some([0xfb; 32]));
    }

    #[test]
    fn nothing_is_spelled_in_a_second_way() {
        assert_eq!(decode("-_-_"), Some(vec![0xfb, 0xff, 0xbf]));
        for text in ["+/+/", "AA==", "AA=", "AB", "AAB", "A", "AAAAA", "AA A", "AA\n", "AAA\n", "AA\u{e9}"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn thirty_two_bytes_are_neither_more_nor_less() {
        for length in [0, 31, 33, 64] {
            assert_eq!(decode_32(&encode(&vec![1; length])), None);
        }
    }
}
