//! How a catalogue is shown to players: its groups, icons, and its texts in other languages.
//!
//! None of it is a part of the catalogue's version: it changes neither what is sold nor for how much, so it is not in the
//! canonical JSON, and a game that translates a title goes on selling by the same price list.

use std::collections::BTreeMap;

use super::{Catalog, Product};
use crate::protocol::name::{GroupId, LanguageId};

/// How a product is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// The group that it is shown in.
    pub group: Option<GroupId>,
    /// The asset path of its picture.
    pub icon: Option<String>,
    /// Whether it is put before players more than the others.
    pub highlighted: bool,
    /// Its texts in other languages.
    pub translations: BTreeMap<LanguageId, Texts>,
}

/// A title and a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The name for players.
    pub title: String,
    /// A sentence for players; may be empty.
    pub description: String,
}

/// Products that are shown together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name for players.
    pub title: String,
    /// Its name in other languages.
    pub translations: BTreeMap<LanguageId, String>,
}

impl Product {
    /// Its name for players who read `language`, a tag such as `ko` or `pt-BR`: in that language, in its parent
    /// (`pt`), or as the catalogue has it.
    pub fn title_in(&self, language: &str) -> &str {
        in_language(&self.presentation.translations, language).map_or(&self.title, |texts| &texts.title)
    }

    /// Its description, chosen like [`Product::title_in`]. May be empty.
    pub fn description_in(&self, language: &str) -> &str {
        in_language(&self.presentation.translations, language).map_or(&self.description, |texts| &texts.description)
    }
}

impl Group {
    /// Its name, chosen like [`Product::title_in`].
    pub fn title_in(&self, language: &str) -> &str {
        in_language(&self.translations, language).unwrap_or(&self.title)
    }
}

impl Catalog {
    /// The groups that products are shown in, in the order of the file.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (id, group))
    }

    /// The group called `name`.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups().find(|(id, _)| id.as_str() == name).map(|(_, group)| group)
    }
}

/// What is there in a language, or in the nearest language that it is a kind of.
fn in_language<'a, T>(translations: &'a BTreeMap<LanguageId, T>, language: &str) -> Option<&'a T> {
    let mut language = language;
    loop {
        if let Some(found) = translations.iter().find(|(tag, _)| tag.as_str().eq_ignore_ascii_case(language)) {
            return Some(found.1);
        }
        language = language.rsplit_once('-')?.0;
    }
}
