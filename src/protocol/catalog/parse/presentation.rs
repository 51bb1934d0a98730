//! Reads how a catalogue is shown: its groups, icons and translations.

use std::collections::BTreeMap;

use ron::value::RawValue;
use serde::Deserialize;

use super::{Entries, RawProduct, Reader};
use crate::protocol::catalog::presentation::{Group, Presentation, Texts};
use crate::protocol::name::{GroupId, LanguageId};

#[derive(Deserialize)]
#[serde(rename = "Group", deny_unknown_fields)]
struct RawGroup<'a> {
    #[serde(borrow)]
    title: &'a RawValue,
    #[serde(default)]
    translations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename = "Texts", deny_unknown_fields)]
struct RawTexts<'a> {
    #[serde(borrow)]
    title: &'a RawValue,
    #[serde(default)]
    description: Option<&'a RawValue>,
}

impl<'a> Reader<'a> {
    /// The groups of a catalogue, in the order of the file.
    pub(super) fn groups(&mut self, raw: Entries<'a>) -> Vec<(GroupId, Group)> {
        let mut groups: Vec<(GroupId, Group)> = Vec::new();
        for (key, value) in raw.0 {
            let name = self.parsed::<GroupId>(key);
            let group = self.group(value);
            let (Some(name), Some(group)) = (name, group) else { continue };
            if groups.iter().any(|(other, _)| *other == name) {
                self.mistake(self.place(key), "there is another group of this name; rename one".to_owned());
            } else {
                groups.push((name, group));
            }
        }
        groups
    }

    fn group(&mut self, raw: &'a RawValue) -> Option<Group> {
        let raw = self.read::<RawGroup<'a>>(raw)?;
        let title = self.title(raw.title);
        let translations = self.translations(raw.translations, Self::title);
        Some(Group { title: title?, translations: translations? })
    }

    /// How a product is shown; its group must be one of `groups`.
    pub(super) fn presentation(&mut self, raw: &RawProduct<'a>, groups: &[(GroupId, Group)]) -> Option<Presentation> {
        let translations = self.translations(raw.translations, Self::texts);
        let icon = raw.icon.map(|icon| self.words(icon));
        let highlighted = raw.highlighted.map(|highlighted| self.read::<bool>(highlighted));
        let group = raw.group.map(|raw| {
            let name = self.parsed::<GroupId>(raw)?;
            if !groups.iter().any(|(group, _)| *group == name) {
                let message = format!("there is no group {name}; write it under `groups`");
                self.mistake(self.place(raw), message);
                return None;
            }
            Some(name)
        });
        Some(Presentation {
            group: given(group)?,
            icon: given(icon)?,
            highlighted: given(highlighted)?.unwrap_or_default(),
            translations: translations?,
        })
    }

    fn texts(&mut self, raw: &'a RawValue) -> Option<Texts> {
        let raw = self.read::<RawTexts<'a>>(raw)?;
        let title = self.title(raw.title);
        let description = raw.description.map(|description| self.words(description));
        Some(Texts { title: title?, description: given(description)?.unwrap_or_default() })
    }

    fn translations<T>(
        &mut self,
        raw: Option<&'a RawValue>,
        text: impl Fn(&mut Self, &'a RawValue) -> Option<T>,
    ) -> Option<BTreeMap<LanguageId, T>> {
        let mut translations = BTreeMap::new();
        let Some(raw) = raw else { return Some(translations) };
        for (key, value) in self.read::<Entries<'a>>(raw)?.0 {
            let language = self.parsed::<LanguageId>(key);
            let text = text(self, value);
            let (Some(language), Some(text)) = (language, text) else { continue };
            if translations.insert(language, text).is_some() {
                self.mistake(self.place(key), "there is another text in this language; remove one".to_owned());
            }
        }
        Some(translations)
    }
}

/// A member that may be left out, but is right if it is there.
fn given<T>(member: Option<Option<T>>) -> Option<Option<T>> {
    match member {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}
