//! The catalogue: what is sold, for how much, and what a buyer gets.
//!
//! It is written in RON and read whole or not at all: [`Catalog::parse`] gives either a catalogue in which everything
//! is right, or every mistake in the file at once, each with its place and what to write instead.

mod parse;
mod presentation;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use presentation::{Group, Presentation, Texts};

use super::UnixSeconds;
use super::digest::Sha256;
use super::money::{Currency, Micros, Money};
use super::name::{CreatorId, EntitlementId, GameId, GroupId, ItemId, ProductId};
use super::order::MAX_QUANTITY;
use super::receipt::Grant;
use super::shares::{self, Share};

/// The largest catalogue file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The products of one game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The game that sells them.
    pub game: GameId,
    products: BTreeMap<ProductId, Product>,
    /// The products' names, in the order of the file.
    order: Vec<ProductId>,
    groups: Vec<(GroupId, Group)>,
    canonical: String,
    digest: Sha256,
}

/// One thing that can be bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// What kind of thing it is.
    #[serde(flatten)]
    pub kind: ProductKind,
    /// Its name for players.
    pub title: String,
    /// A sentence for players; may be empty.
    pub description: String,
    /// The price of one, in each currency it is sold in.
    pub prices: BTreeMap<Currency, Micros>,
    /// What one of it gives.
    pub grants: Vec<CatalogGrant>,
    /// Who gets a share of the price; the rest is the game's. The whole at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<CreatorId, Share>,
    /// How it is shown. No part of the catalogue's version.
    #[serde(skip)]
    pub presentation: Presentation,
}

/// The kinds of product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProductKind {
    /// Bought once, kept for ever.
    Unlock,
    /// Bought any number of times, and used up.
    Consumable,
    /// Rights for a time; can be bought again when they have ended.
    Pass {
        /// How long they last.
        hours: u32,
    },
}

/// What a product gives, as the catalogue says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatalogGrant {
    /// A right.
    Entitlement(EntitlementId),
    /// A number of countable things.
    Item(ItemId, u32),
}

impl Catalog {
    /// Reads a catalogue from the text of a RON file; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in the text, in the order of the file. Never panics, whatever the text.
    pub fn parse(file: &str, text: &str) -> Result<Self, CatalogError> {
        let parse::Parsed { game, groups, products } = parse::parse(file, text)?;
        let order = products.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self::new(game, products.into_iter().collect(), order, groups))
    }

    fn new(
        game: GameId,
        products: BTreeMap<ProductId, Product>,
        order: Vec<ProductId>,
        groups: Vec<(GroupId, Group)>,
    ) -> Self {
        #[derive(Serialize)]
        struct Canonical<'a> {
            game: &'a GameId,
            products: &'a BTreeMap<ProductId, Product>,
        }
        let canonical = serde_json::to_string(&Canonical { game: &game, products: &products })
            .expect("string keys, integers and strings always serialise");
        let digest = Sha256::of(&canonical);
        Self { game, products, order, groups, canonical, digest }
    }

    /// The products, in the order of the file.
    pub fn products(&self) -> impl Iterator<Item = (&ProductId, &Product)> {
        self.order.iter().filter_map(|name| self.products.get_key_value(name))
    }

    /// The product called `name`.
    pub fn product(&self, name: &str) -> Option<(&ProductId, &Product)> {
        self.products.get_key_value(name)
    }

    /// The catalogue as canonical JSON: products and prices sorted by name, no spaces. Comments, layout and order of the
    /// RON file make no difference, nor does how products are shown.
    pub fn canonical_json(&self) -> &str {
        &self.canonical
    }

    /// The SHA-256 digest of [`Catalog::canonical_json`]: the catalogue's version.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }
}

impl Product {
    /// The price of one in `currency`, if it is sold in it.
    pub fn price(&self, currency: Currency) -> Option<Money> {
        self.prices.get(&currency).map(|&micros| Money::new(micros, currency))
    }

    /// The largest quantity of one order: 1 for what can only be owned once.
    pub fn max_quantity(&self) -> u32 {
        match self.kind {
            ProductKind::Consumable => MAX_QUANTITY,
            ProductKind::Unlock | ProductKind::Pass { .. } => 1,
        }
    }

    /// What `quantity` of it gives when bought at `now`.
    pub fn grants(&self, quantity: u32, now: UnixSeconds) -> Vec<Grant> {
        let until = match self.kind {
            ProductKind::Pass { hours } => Some(now.saturating_add(i64::from(hours) * 3_600)),
            ProductKind::Unlock | ProductKind::Consumable => None,
        };
        let grant = |grant: &CatalogGrant| match grant {
            CatalogGrant::Entitlement(entitlement) => Grant::Entitlement { entitlement: entitlement.clone(), until },
            CatalogGrant::Item(item, each) => {
                Grant::Item { item: item.clone(), quantity: u64::from(*each) * u64::from(quantity) }
            }
        };
        self.grants.iter().map(grant).collect()
    }

    /// What each creator gets of `amount`, in the order of their names, and what the game keeps. It adds up to the
    /// amount; of equal remainders the earlier name comes first, and the game last.
    pub fn split(&self, amount: Micros) -> Option<(Vec<(CreatorId, Micros)>, Micros)> {
        let given: u32 = self.shares.values().map(|share| share.millionths()).sum();
        let weights = self.shares.values().map(|share| share.millionths()).chain([shares::WHOLE.checked_sub(given)?]);
        let mut parts = shares::split(amount.value(), &weights.map(i64::from).collect::<Vec<_>>())?;
        let kept = Micros::new(parts.pop()?).ok()?;
        let part = |(creator, part): (&CreatorId, i64)| Some((creator.clone(), Micros::new(part).ok()?));
        Some((self.shares.keys().zip(parts).map(part).collect::<Option<_>>()?, kept))
    }
}

/// Everything that is wrong with a catalogue file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogError {
    /// The mistakes, in the order of the file; never empty.
    pub mistakes: Vec<Mistake>,
}

/// One mistake in a catalogue file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The product it is in, where it is in one.
    pub product: Option<String>,
    /// What is wrong and what to write.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if let Some(product) = &self.product {
            write!(f, "product {product:?}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// One line per mistake.
impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogError {}
