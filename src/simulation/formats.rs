//! A journal as an older version of the game has left it: of format 1, which knew no seals and no numbers of appends.

use super::disk::Content;
use super::life::{Act, Life, Told};
use super::shop::Shop;
use crate::client::journal::recover;
use crate::client::record::{Record, Signed};
use crate::protocol::{Order, SecretKey, envelope};

/// Lives that go on with a journal of format 1: one that an older version has written, with an order that is granted and
/// an item that is used up; and a longer one, with orders of which the server has not heard.
pub(super) fn older_lives() -> [Life; 2] {
    [written_by_an_older_version(), with_unsent_orders()]
}

fn written_by_an_older_version() -> Life {
    let journal = include_bytes!("../../tests/journals/format-1.iap");
    let (records, _) = recover(journal).expect("a journal");
    let text = |record: &Record| match record {
        Record::Order(signed) | Record::Receipt(signed) => Some(Signed::token(signed)),
        _ => None,
    };
    let texts: Vec<_> = records.iter().filter_map(text).collect();
    let [order, receipt] = &texts[..] else { unreachable!("the journal has one order and its receipt") };
    let claims: Order = envelope::claims_of_stored(order).expect("an order");
    let device = SecretKey::from_seed(&[1; 32]);
    let mut content = Content::with_key(&device);
    content.make("journal.iap");
    content.rot("journal.iap", |bytes| bytes.extend_from_slice(journal));
    let shop = Shop::that_settled(device.public(), &claims, order, receipt);
    Life::after(content, &Told::granted_before(claims.id, claims.quantity), &shop, 3)
}

fn with_unsent_orders() -> Life {
    let mut life = Life::new(3);
    let acts = [Act::Reopen, Act::Buy, Act::Exchange, Act::BuyThree, Act::Exchange, Act::Buy, Act::BuyThree];
    acts.iter().for_each(|act| life.act(*act));
    let mut content = life.disk.content().copied();
    content.rot("journal.iap", |journal| assert!(as_format_1(journal)));
    Life::after(content, &life.told, &life.shop, 4)
}

/// Writes a journal as format 1 does, unless it is damaged. Says whether it did.
pub(super) fn as_format_1(journal: &mut Vec<u8>) -> bool {
    let Ok((records, found)) = recover(journal) else { return false };
    if found.damage.is_some() || records.is_empty() {
        return false;
    }
    let mut older = b"IAPJRNL\0\x01\0\0\0".to_vec();
    older.extend_from_slice(&crc32c::crc32c(&older).to_le_bytes());
    for record in &records {
        let mut payload = Vec::new();
        match record {
            Record::Order(signed) | Record::Receipt(signed) => {
                payload.extend_from_slice(signed.token().as_str().as_bytes());
            }
            other => other.write_payload(&mut payload),
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let sum = crc32c::crc32c_append(crc32c::crc32c(&length), &[&[record.kind()], &payload[..]].concat());
        older.extend_from_slice(&length);
        older.extend_from_slice(&sum.to_le_bytes());
        older.push(record.kind());
        older.extend_from_slice(&payload);
    }
    *journal = older;
    true
}

#[test]
fn life_that_an_older_version_began_goes_on_with_everything_that_it_knew() {
    for mut life in older_lives() {
        assert_eq!(life.disk.content().file("journal.iap").map(|journal| journal[8]), Some(1));
        life.reopen();
        assert_eq!(life.disk.content().file("journal.iap").map(|journal| journal[8]), Some(2));
        life.check().and_then(|()| life.converge()).and_then(|()| life.go_on()).expect("everything is true");
    }
}
