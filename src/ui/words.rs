//! The shop's own texts, in the player's language, and money as that language writes it.
//!
//! The texts are [Fluent](https://projectfluent.org) messages: English and Korean come with the shop, and a game can
//! bring another language, of which whatever is missing is said in English.

use bevy::ecs::resource::Resource;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use unic_langid::LanguageIdentifier;

use crate::protocol::Money;

const ENGLISH: &str = include_str!("words/en.ftl");
const KOREAN: &str = include_str!("words/ko.ftl");

/// The shop's texts in one language. Put another one in to change the language at any time.
#[derive(Resource)]
pub struct Words {
    tag: String,
    chosen: FluentBundle<FluentResource>,
    english: FluentBundle<FluentResource>,
}

impl Words {
    /// The shop's own texts in `language`, a tag such as `ko` or `en-GB`; in English where the shop does not speak it.
    /// Products are shown in `language` wherever the catalogue has them in it.
    pub fn new(language: &str) -> Self {
        let own = match language.split('-').next() {
            Some("ko") => KOREAN,
            _ => ENGLISH,
        };
        Self::with_texts(language, own)
    }

    /// The texts of a game's own translation, in [Fluent's syntax](https://projectfluent.org/fluent/guide), with the
    /// messages of the shop's `en.ftl`. What is missing or not well formed in it is said in English.
    pub fn with_texts(language: &str, texts: &str) -> Self {
        Self { tag: language.to_owned(), chosen: bundle(language, texts), english: bundle("en", ENGLISH) }
    }

    /// The system's language, or English where it does not say.
    pub fn of_system() -> Self {
        Self::new(sys_locale::get_locale().as_deref().unwrap_or("en"))
    }

    /// The language, as a tag.
    pub fn language(&self) -> &str {
        &self.tag
    }

    /// The text of a message without arguments. A message that there is none of is said as its own name.
    pub fn say(&self, message: &str) -> String {
        self.say_with(message, &FluentArgs::new())
    }

    /// The text of a message, with what goes into its places.
    pub fn say_with(&self, message: &str, arguments: &FluentArgs<'_>) -> String {
        let said = |bundle: &FluentBundle<FluentResource>| {
            let pattern = bundle.get_message(message)?.value()?;
            let mut mistakes = Vec::new();
            let text = bundle.format_pattern(pattern, Some(arguments), &mut mistakes).into_owned();
            mistakes.is_empty().then_some(text)
        };
        said(&self.chosen).or_else(|| said(&self.english)).unwrap_or_else(|| message.to_owned())
    }

    /// An amount as players of this language read it: exact, with the currency's usual decimals or as many more as it
    /// takes. `€0.05`, `€0.005`, `₩1,000`.
    pub fn money(&self, money: Money) -> String {
        let (negative, digits) = decimal(money);
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let mut amount = String::new();
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                amount.push_str(&self.say("number-group"));
            }
            amount.push(digit);
        }
        if !fraction.is_empty() {
            amount.push_str(&self.say("number-decimal"));
            amount.push_str(fraction);
        }
        let code = money.currency.code();
        let name = format!("symbol-{code}");
        let (symbol, known) = match self.say(&name) {
            unknown if unknown == name => (code.to_owned(), false),
            symbol => (symbol, true),
        };
        let message = match (known, negative) {
            (true, false) => "money",
            (true, true) => "money-negative",
            (false, _) => "money-coded",
        };
        if negative && !known {
            amount.insert(0, '-');
        }
        self.say_with(message, &arguments([("symbol", symbol.into()), ("amount", amount.into())]))
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("language", &self.tag).finish_non_exhaustive()
    }
}

/// What goes into the places of a message.
pub(super) fn arguments<const N: usize>(
    given: [(&'static str, fluent_bundle::FluentValue<'static>); N],
) -> FluentArgs<'static> {
    given.into_iter().collect()
}

/// The digits of an amount without its sign, and whether it is below zero.
fn decimal(money: Money) -> (bool, String) {
    let text = money.to_string();
    let digits = text.split(' ').next().unwrap_or_default();
    match digits.strip_prefix('-') {
        Some(digits) => (true, digits.to_owned()),
        None => (false, digits.to_owned()),
    }
}

fn bundle(language: &str, texts: &str) -> FluentBundle<FluentResource> {
    let language: LanguageIdentifier = language.parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    // The marks around what is put in are for text that mixes directions; the shop's font draws them as boxes.
    bundle.set_use_isolating(false);
    let resource = match FluentResource::try_new(texts.to_owned()) {
        Ok(resource) => resource,
        Err((resource, mistakes)) => {
            tracing::warn!("{} messages of the shop's texts are not well formed", mistakes.len());
            resource
        }
    };
    bundle.add_resource_overriding(resource);
    bundle
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names of the messages of a text.
    fn messages(text: &str) -> BTreeSet<&str> {
        let entries = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        entries.filter_map(|line| line.split(" =").next()).collect()
    }

    /// The places of a message, in any order.
    fn places(text: &str, message: &str) -> BTreeSet<String> {
        let start = text.find(&format!("\n{message} =")).expect("the message is there") + 1;
        let body: String = text[start..]
            .lines()
            .enumerate()
            .take_while(|(number, line)| *number == 0 || line.starts_with([' ', '}', '*', '[']))
            .map(|(_, line)| line)
            .collect();
        body.split('$').skip(1).map(|rest| rest.chars().take_while(char::is_ascii_alphabetic).collect()).collect()
    }

    #[test]
    fn no_message_is_missing_in_a_language() {
        assert_eq!(messages(ENGLISH), messages(KOREAN));
        for (tag, text) in [("en", ENGLISH), ("ko", KOREAN)] {
            let mistakes = FluentResource::try_new(text.to_owned()).err().map(|(_, mistakes)| mistakes);
            assert_eq!(mistakes, None, "{tag} is well formed");
            for message in messages(text) {
                assert!(bundle(tag, text).has_message(message), "{tag}: {message}");
            }
        }
    }

    #[test]
    fn a_message_has_the_same_places_in_every_language() {
        for message in messages(ENGLISH) {
            assert_eq!(places(ENGLISH, message), places(KOREAN, message), "{message}");
        }
    }

    #[test]
    fn pp15_a_price_is_shown_exactly_and_in_its_own_currency() {
        let shown = |language: &str, amount: &str| Words::new(language).money(amount.parse().expect("money"));
        for (amount, english, korean) in [
            ("0.05 EUR", "€0.05", "€0.05"),
            ("0.005 EUR", "€0.005", "€0.005"),
            ("0.000001 EUR", "€0.000001", "€0.000001"),
            ("5 EUR", "€5.00", "€5.00"),
            ("1234567.5 USD", "$1,234,567.50", "US$1,234,567.50"),
            ("1000 KRW", "₩1,000", "₩1,000"),
            ("0.5 KRW", "₩0.5", "₩0.5"),
            ("100 JPY", "¥100", "JP¥100"),
            ("-0.05 EUR", "-€0.05", "-€0.05"),
            ("2.50 CHF", "2.50 CHF", "2.50 CHF"),
            ("-2 CHF", "-2.00 CHF", "-2.00 CHF"),
        ] {
            assert_eq!([shown("en", amount), shown("ko-KR", amount)], [english, korean], "{amount}");
        }
    }

    #[test]
    fn numbers_take_their_plural() {
        let left = |language: &str, count: i64| {
            Words::new(language).say_with("time-hours", &arguments([("count", count.into())]))
        };
        assert_eq!([left("en", 1), left("en", 2), left("ko", 1)], ["1 hour", "2 hours", "1시간"]);
    }

    #[test]
    fn what_a_translation_lacks_is_said_in_english() {
        let words = Words::with_texts("pt-BR", "shop-title = Loja\nowned = { $nothing }\n");
        assert_eq!([words.say("shop-title"), words.say("shop-close"), words.say("owned")], ["Loja", "Close", "Yours"]);
        assert_eq!(Words::new("tlh").say("shop-title"), "Shop");
        assert_eq!(words.say("no-such-message"), "no-such-message");
    }
}
