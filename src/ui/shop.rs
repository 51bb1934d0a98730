//! Whether the shop is open, and on which page.

use bevy::prelude::*;

use super::waits::Waits;
use crate::protocol::{GroupId, ProductId};

/// Opens, closes and turns the pages of the shop. Write it like any other message.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub enum ShopCommand {
    /// Opens the shop where it was left.
    Open,
    /// Closes it.
    Close,
    /// Shows the shelf, with the products of one group or (None) of all.
    ShowShelf(Option<GroupId>),
    /// Shows one product.
    Show(ProductId),
    /// Shows what was bought.
    ShowPurchases,
}

/// The shop: whether it is open, and on which page. It is changed by [`ShopCommand`].
#[derive(Resource, Clone, Debug, Default)]
pub struct Shop {
    is_open: bool,
    page: Page,
    /// The group that the shelf shows. None is all of them.
    group: Option<GroupId>,
}

/// A page of the shop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The products.
    #[default]
    Shelf,
    /// One product, with the button that buys it.
    Product(ProductId),
    /// What was bought.
    Purchases,
}

/// What a player needs to read and use the shop.
#[derive(Resource, Clone, Copy, Debug, PartialEq)]
pub struct ShopSettings {
    /// How large text is, beside its usual size: from 0.75 to 2.
    pub text_scale: f32,
    /// Whether nothing turns or slides.
    pub reduced_motion: bool,
}

impl Default for ShopSettings {
    fn default() -> Self {
        Self { text_scale: 1.0, reduced_motion: false }
    }
}

impl Shop {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The page that it is on.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The group that the shelf shows. None is all of them.
    pub fn group(&self) -> Option<&GroupId> {
        self.group.as_ref()
    }

    /// One step back: to the shelf, or out of the shop.
    pub(super) fn back(&self) -> ShopCommand {
        match self.page {
            Page::Shelf => ShopCommand::Close,
            Page::Product(_) | Page::Purchases => ShopCommand::ShowShelf(self.group.clone()),
        }
    }

    fn obey(&mut self, command: ShopCommand) {
        match command {
            ShopCommand::Open => self.is_open = true,
            ShopCommand::Close => (self.is_open, self.page) = (false, Page::Shelf),
            ShopCommand::ShowShelf(group) => (self.is_open, self.page, self.group) = (true, Page::Shelf, group),
            ShopCommand::Show(product) => (self.is_open, self.page) = (true, Page::Product(product)),
            ShopCommand::ShowPurchases => (self.is_open, self.page) = (true, Page::Purchases),
        }
    }
}

/// Runs a system while the shop is open.
pub fn shop_is_open(shop: Option<Res<Shop>>) -> bool {
    shop.is_some_and(|shop| shop.is_open)
}

/// Runs a system while the shop is closed, and was so in the last frame: the key that closes it does nothing else.
pub fn shop_is_closed(shop: Option<Res<Shop>>, mut was_open: Local<bool>) -> bool {
    let is_open = shop.is_some_and(|shop| shop.is_open);
    !std::mem::replace(&mut *was_open, is_open) && !is_open
}

pub(super) fn obey(mut commands: MessageReader<ShopCommand>, mut shop: ResMut<Shop>, mut waits: ResMut<Waits>) {
    for command in commands.read() {
        shop.obey(command.clone());
        waits.forget_refusal();
    }
}
