//! From RON text to a checked catalogue, with the place of every mistake.
//!
//! The file is read in layers: each layer takes its members as raw RON, which keeps their place in the text, and reads
//! them one by one. So a mistake in one product hides none in another.

mod presentation;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{CatalogError, CatalogGrant, Group, MAX_BYTES, Mistake, Product, ProductKind};
use crate::protocol::money::{Currency, Micros};
use crate::protocol::name::{CreatorId, GameId, GroupId, ProductId};
use crate::protocol::shares::{self, Share};

/// The longest title and description, in characters.
const MAX_TEXT: usize = 500;
/// The most of one item that a product may give.
const MAX_GRANT: u32 = 1_000_000;
/// The most grants in one product, so that its receipts stay within their limit.
const MAX_GRANTS: usize = 64;
/// The most creators who share one product's price, so that an order is a handful of transfers.
const MAX_SHARES: usize = 16;
/// The longest pass: ten years.
const MAX_HOURS: u32 = 87_600;

#[derive(Deserialize)]
#[serde(rename = "Catalog", deny_unknown_fields)]
struct RawCatalog<'a> {
    #[serde(borrow)]
    game: &'a RawValue,
    #[serde(default)]
    groups: Option<Entries<'a>>,
    products: Entries<'a>,
}

#[derive(Deserialize)]
#[serde(rename = "Product")]
enum RawKind<'a> {
    Unlock(#[serde(borrow)] RawProduct<'a>),
    Consumable(#[serde(borrow)] RawProduct<'a>),
    Pass(#[serde(borrow)] RawProduct<'a>),
}

#[derive(Deserialize)]
#[serde(rename = "Product", deny_unknown_fields)]
struct RawProduct<'a> {
    #[serde(borrow)]
    title: &'a RawValue,
    #[serde(default)]
    description: Option<&'a RawValue>,
    #[serde(default)]
    hours: Option<&'a RawValue>,
    prices: &'a RawValue,
    #[serde(default)]
    grants: Option<&'a RawValue>,
    #[serde(default)]
    shares: Option<&'a RawValue>,
    #[serde(default)]
    group: Option<&'a RawValue>,
    #[serde(default)]
    icon: Option<&'a RawValue>,
    #[serde(default)]
    highlighted: Option<&'a RawValue>,
    #[serde(default)]
    translations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename = "Grant")]
enum RawGrant<'a> {
    Entitlement(#[serde(borrow)] &'a RawValue),
    Item(#[serde(borrow)] &'a RawValue, #[serde(borrow)] &'a RawValue),
}

/// A RON map, in the order of the file, with equal keys kept.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Vec<(&'de RawValue, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map such as { \"name\": … }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntriesVisitor).map(Entries)
    }
}

/// A catalogue as it was written, in the order of the file.
pub(super) struct Parsed {
    pub(super) game: GameId,
    pub(super) groups: Vec<(GroupId, Group)>,
    pub(super) products: Vec<(ProductId, Product)>,
}

/// Reads the text, collecting every mistake.
pub(super) fn parse(file: &str, text: &str) -> Result<Parsed, CatalogError> {
    let mut reader = Reader { file, text, product: None, mistakes: Vec::new() };
    let catalog = reader.catalog();
    match catalog {
        Some(catalog) if reader.mistakes.is_empty() => Ok(catalog),
        _ => {
            reader.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
            Err(CatalogError { mistakes: reader.mistakes })
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    product: Option<String>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn catalog(&mut self) -> Option<Parsed> {
        if self.text.len() > MAX_BYTES {
            self.mistake(0, format!("the file is {} bytes long, and may be {MAX_BYTES} at most", self.text.len()));
            return None;
        }
        let raw: RawCatalog<'a> = self.ron(self.text)?;
        let game = self.parsed::<GameId>(raw.game);
        if raw.products.0.is_empty() {
            self.mistake(0, "there is no product; write at least one under `products`".to_owned());
        }
        let groups = raw.groups.map_or_else(Vec::new, |groups| self.groups(groups));
        let mut products = Vec::new();
        let mut seen = BTreeSet::new();
        for (key, value) in raw.products.0 {
            self.product = self.read::<String>(key);
            let name = self.parsed::<ProductId>(key);
            if let Some(name) = &name
                && !seen.insert(name.clone())
            {
                self.mistake(self.place(key), "there is another product of this name; rename one".to_owned());
            }
            let product = name.as_ref().and_then(|name| self.product(name, value, &groups));
            if let (Some(name), Some(product)) = (name, product) {
                products.push((name, product));
            }
            self.product = None;
        }
        Some(Parsed { game: game?, groups, products })
    }

    fn product(&mut self, name: &ProductId, raw: &'a RawValue, groups: &[(GroupId, Group)]) -> Option<Product> {
        let (kind, raw_product) = match self.read::<RawKind<'a>>(raw)? {
            RawKind::Unlock(product) => (Some(ProductKind::Unlock), product),
            RawKind::Consumable(product) => (Some(ProductKind::Consumable), product),
            RawKind::Pass(product) => (self.pass(raw, product.hours), product),
        };
        if let Some(hours) = raw_product.hours
            && matches!(kind, Some(ProductKind::Unlock | ProductKind::Consumable))
        {
            self.mistake(self.place(hours), "only a Pass has `hours`; remove them, or make it a Pass".to_owned());
        }
        let title = self.title(raw_product.title);
        let presentation = self.presentation(&raw_product, groups);
        let description = match raw_product.description {
            Some(description) => self.words(description),
            None => Some(String::new()),
        };
        let prices = self.prices(raw_product.prices);
        let grants = self.grants(name, raw, kind, raw_product.grants);
        let shares = match raw_product.shares {
            Some(shares) => self.shares(shares),
            None => Some(BTreeMap::new()),
        };
        Some(Product {
            kind: kind?,
            title: title?,
            description: description?,
            prices: prices?,
            grants: grants?,
            shares: shares?,
            presentation: presentation?,
        })
    }

    fn pass(&mut self, product: &'a RawValue, hours: Option<&'a RawValue>) -> Option<ProductKind> {
        let Some(hours) = hours else {
            self.mistake(self.place(product), "a Pass needs `hours`; write for example hours: 24".to_owned());
            return None;
        };
        self.number(hours, "hours", MAX_HOURS).map(|hours| ProductKind::Pass { hours })
    }

    fn prices(&mut self, raw: &'a RawValue) -> Option<BTreeMap<Currency, Micros>> {
        let mut prices = BTreeMap::new();
        let entries = self.read::<Entries<'a>>(raw)?.0;
        if entries.is_empty() {
            self.mistake(self.place(raw), "there is no price; write for example { \"EUR\": \"0.05\" }".to_owned());
        }
        for (key, value) in entries {
            let currency = self.parsed::<Currency>(key);
            let price = self.price(value);
            let (Some(currency), Some(price)) = (currency, price) else { continue };
            if prices.insert(currency, price).is_some() {
                self.mistake(self.place(key), format!("there is another price in {currency}; remove one"));
            }
        }
        Some(prices)
    }

    fn price(&mut self, raw: &'a RawValue) -> Option<Micros> {
        let written = raw.get_ron().trim();
        if !written.starts_with(['"', 'r']) {
            let message = format!("price {written} must be in quotes, so that it stays exact (write \"{written}\")");
            self.mistake(self.place(raw), message);
            return None;
        }
        let text = self.read::<String>(raw)?;
        match text.parse::<Micros>() {
            Ok(price) if price.is_negative() => {
                self.mistake(
                    self.place(raw),
                    format!("price {text:?} is negative (write {})", text.trim_start_matches('-')),
                );
                None
            }
            Ok(price) => Some(price),
            Err(error) => {
                self.mistake(self.place(raw), format!("price {error}"));
                None
            }
        }
    }

    fn shares(&mut self, raw: &'a RawValue) -> Option<BTreeMap<CreatorId, Share>> {
        let mut shares = BTreeMap::new();
        let entries = self.read::<Entries<'a>>(raw)?.0;
        if entries.is_empty() {
            let message = "there is nobody in `shares`; leave it out or write for example { \"studio\": \"12.5\" }";
            self.mistake(self.place(raw), message.to_owned());
        }
        if entries.len() > MAX_SHARES {
            self.mistake(self.place(raw), format!("there are {} shares; write {MAX_SHARES} at most", entries.len()));
        }
        for (key, value) in entries {
            let creator = self.parsed::<CreatorId>(key);
            let share = self.share(value);
            let (Some(creator), Some(share)) = (creator, share) else { continue };
            if shares.insert(creator, share).is_some() {
                self.mistake(self.place(key), "there is another share of this creator; remove one".to_owned());
            }
        }
        let sum: u64 = shares.values().map(|share| u64::from(share.millionths())).sum();
        if sum > u64::from(shares::WHOLE) {
            let (whole, decimals) = (sum / 10_000, sum % 10_000);
            let message = format!("the shares add up to {whole}.{decimals:04} per cent; write 100 at most");
            self.mistake(self.place(raw), message);
            return None;
        }
        Some(shares)
    }

    fn share(&mut self, raw: &'a RawValue) -> Option<Share> {
        let written = raw.get_ron().trim();
        if !written.starts_with(['"', 'r']) {
            let message = format!("share {written} must be in quotes, so that it stays exact (write \"{written}\")");
            self.mistake(self.place(raw), message);
            return None;
        }
        let text = self.read::<String>(raw)?;
        match text.parse() {
            Ok(share) => Some(share),
            Err(error) => {
                self.mistake(self.place(raw), format!("share {text:?}: {error}"));
                None
            }
        }
    }

    fn grants(
        &mut self,
        name: &ProductId,
        product: &'a RawValue,
        kind: Option<ProductKind>,
        raw: Option<&'a RawValue>,
    ) -> Option<Vec<CatalogGrant>> {
        let Some(raw) = raw else {
            return self.default_grant(name, product, kind);
        };
        let entries = self.read::<Vec<&'a RawValue>>(raw)?;
        if entries.is_empty() {
            self.mistake(
                self.place(raw),
                "there is nothing in `grants`; leave it out or name what is given".to_owned(),
            );
        }
        if entries.len() > MAX_GRANTS {
            self.mistake(self.place(raw), format!("there are {} grants; write {MAX_GRANTS} at most", entries.len()));
        }
        let mut grants: Vec<CatalogGrant> = Vec::new();
        let mut names = BTreeSet::new();
        for entry in entries {
            let Some(grant) = self.grant(kind, entry) else { continue };
            let key = match &grant {
                CatalogGrant::Entitlement(name) => (true, name.to_string()),
                CatalogGrant::Item(name, _) => (false, name.to_string()),
            };
            if names.insert(key) {
                grants.push(grant);
            } else {
                self.mistake(self.place(entry), "it is granted twice; remove one".to_owned());
            }
        }
        let is_pass = matches!(kind, Some(ProductKind::Pass { .. }));
        if is_pass && !grants.iter().any(|grant| matches!(grant, CatalogGrant::Entitlement(_))) {
            let message = "a Pass gives rights for a time; write Entitlement(\"…\"), or make it a Consumable";
            self.mistake(self.place(raw), message.to_owned());
        }
        Some(grants)
    }

    fn grant(&mut self, kind: Option<ProductKind>, raw: &'a RawValue) -> Option<CatalogGrant> {
        match self.read::<RawGrant<'a>>(raw)? {
            RawGrant::Entitlement(name) => {
                if kind == Some(ProductKind::Consumable) {
                    let message = "a Consumable is used up, so it cannot grant an entitlement (write Item(\"…\", 1), or make it an Unlock)";
                    self.mistake(self.place(raw), message.to_owned());
                    return None;
                }
                self.parsed(name).map(CatalogGrant::Entitlement)
            }
            RawGrant::Item(name, quantity) => {
                let name = self.parsed(name);
                let quantity = self.number(quantity, "quantity", MAX_GRANT);
                Some(CatalogGrant::Item(name?, quantity?))
            }
        }
    }

    /// A product without `grants` gives what is called like itself.
    fn default_grant(
        &mut self,
        name: &ProductId,
        product: &'a RawValue,
        kind: Option<ProductKind>,
    ) -> Option<Vec<CatalogGrant>> {
        let grant = match kind? {
            ProductKind::Consumable => name.as_str().parse().map(|name| CatalogGrant::Item(name, 1)),
            ProductKind::Unlock | ProductKind::Pass { .. } => name.as_str().parse().map(CatalogGrant::Entitlement),
        };
        match grant {
            Ok(grant) => Some(vec![grant]),
            Err(error) => {
                self.mistake(self.place(product), error.to_string());
                None
            }
        }
    }

    fn number(&mut self, raw: &'a RawValue, what: &str, most: u32) -> Option<u32> {
        let number = self.read::<u32>(raw)?;
        if !(1..=most).contains(&number) {
            self.mistake(self.place(raw), format!("{what} {number} is out of range (write 1 to {most})"));
            return None;
        }
        Some(number)
    }

    /// A text that says something.
    fn title(&mut self, raw: &'a RawValue) -> Option<String> {
        let title = self.words(raw)?;
        if title.trim().is_empty() {
            let message = "the title is empty; write what players should read".to_owned();
            self.mistake(self.place(raw), message);
            return None;
        }
        Some(title)
    }

    fn words(&mut self, raw: &'a RawValue) -> Option<String> {
        let text = self.read::<String>(raw)?;
        if text.chars().count() > MAX_TEXT {
            self.mistake(self.place(raw), format!("the text is longer than {MAX_TEXT} characters; shorten it"));
            return None;
        }
        Some(text)
    }

    /// A string that parses as `T`.
    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, raw: &'a RawValue) -> Option<T> {
        match self.read::<String>(raw)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(self.place(raw), error.to_string());
                None
            }
        }
    }

    fn read<T: Deserialize<'a>>(&mut self, raw: &'a RawValue) -> Option<T> {
        self.ron(raw.get_ron())
    }

    /// Reads `part`, a slice of the text.
    fn ron<T: Deserialize<'a>>(&mut self, part: &'a str) -> Option<T> {
        // So that an optional member is written like any other, without `Some(…)`, and a kind holds its members itself.
        let extensions = Extensions::IMPLICIT_SOME | Extensions::UNWRAP_VARIANT_NEWTYPES;
        let options = ron::Options::default().with_default_extension(extensions);
        match options.from_str(part) {
            Ok(value) => Some(value),
            Err(error) => {
                let within = offset_of(part, error.span.start.line, error.span.start.col);
                self.mistake(self.offset(part) + within, error.code.to_string());
                None
            }
        }
    }

    /// Where a raw value starts in the text, past its leading white space.
    fn place(&self, raw: &'a RawValue) -> usize {
        let part = raw.get_ron();
        self.offset(part) + part.len() - part.trim_start().len()
    }

    /// Where a slice of the text starts in it.
    fn offset(&self, part: &'a str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len())
    }

    fn mistake(&mut self, offset: usize, message: String) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        let (file, product) = (self.file.to_owned(), self.product.clone());
        let mistake = Mistake { file, line, column, product, message };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }
}

/// The byte offset of a line and column (both from 1, columns in characters) in `text`.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset);
    start + within
}
