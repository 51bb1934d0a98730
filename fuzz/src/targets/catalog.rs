//! Any text as a catalogue: it is read whole, exactly as `docs/protocol.md` says, or refused with the places of its
//! mistakes.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use bevy_iap::protocol::catalog::{CatalogGrant, Group, MAX_BYTES, Presentation, Texts};
use bevy_iap::protocol::{Catalog, CatalogError, GroupId, Product, ProductKind, Sha256, Share};

/// Tries these bytes, as far as they are text.
///
/// # Panics
/// The crate broke a promise.
pub fn run(bytes: &[u8]) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("so far it is text"),
    };
    match Catalog::parse("fuzzed.catalog.ron", text) {
        Ok(catalog) => {
            assert!(text.len() <= MAX_BYTES);
            keeps_the_limits(&catalog);
            assert_eq!(catalog.canonical_json(), canonical(&catalog), "canonical JSON");
            assert_eq!(catalog.digest(), Sha256::of(catalog.canonical_json()));
            let again = Catalog::parse("again.catalog.ron", &as_ron(&catalog)).expect("what was read can be written");
            assert_eq!(again, catalog, "reading what was written");
        }
        Err(error) => tells_where(text, &error),
    }
}

/// The limits that the document sets, whatever the parser checks.
fn keeps_the_limits(catalog: &Catalog) {
    assert!(catalog.products().count() > 0);
    let mut names: Vec<_> = catalog.products().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), catalog.products().count(), "no name twice");
    let groups: Vec<_> = catalog.groups().map(|(name, _)| name).collect();
    assert!((1..groups.len()).all(|later| !groups[..later].contains(&groups[later])), "no name twice");
    for (name, group) in catalog.groups() {
        assert!(is_name(name.as_str()) && is_title(&group.title));
        assert!(group.translations.iter().all(|(tag, title)| is_tag(tag.as_str()) && is_title(title)));
    }
    for (name, product) in catalog.products() {
        assert!(is_name(name.as_str()) && is_name(catalog.game.as_str()));
        assert!(product.presentation.group.as_ref().is_none_or(|group| groups.contains(&group)));
        for (tag, texts) in &product.presentation.translations {
            assert!(is_tag(tag.as_str()) && is_title(&texts.title) && texts.description.chars().count() <= 500);
        }
        assert!(product.shares.len() <= 16 && product.shares.values().all(|share| share.millionths() > 0));
        assert!(product.shares.values().map(|share| share.millionths()).sum::<u32>() <= 1_000_000);
        assert!(product.shares.keys().all(|creator| is_name(creator.as_str())));
        assert!(is_title(&product.title));
        assert!(product.description.chars().count() <= 500);
        assert!(!product.prices.is_empty() && product.prices.values().all(|price| !price.is_negative()));
        assert!((1..=64).contains(&product.grants.len()));
        let mut grants = Vec::new();
        let mut rights = 0;
        for grant in &product.grants {
            let (is_right, what) = match grant {
                CatalogGrant::Entitlement(right) => (true, right.as_str()),
                CatalogGrant::Item(item, quantity) => {
                    assert!((1..=1_000_000).contains(quantity));
                    (false, item.as_str())
                }
            };
            assert!(is_name(what));
            assert!(!grants.contains(&(is_right, what)), "no grant twice");
            grants.push((is_right, what));
            rights += usize::from(is_right);
        }
        match product.kind {
            ProductKind::Unlock => {}
            ProductKind::Consumable => assert_eq!(rights, 0),
            ProductKind::Pass { hours } => assert!((1..=87_600).contains(&hours) && rights > 0),
        }
        assert_eq!(product.grants(product.max_quantity(), i64::MAX).len(), product.grants.len());
    }
}

fn is_name(text: &str) -> bool {
    let rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':');
    matches!(text.as_bytes(), [b'a'..=b'z', more @ ..] if more.len() < 64 && more.iter().copied().all(rest))
}

fn is_title(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 500
}

/// As far as a language tag has a shape: letters and digits, in parts of eight at most.
fn is_tag(text: &str) -> bool {
    text.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The canonical JSON as the document describes it, written here a second time.
fn canonical(catalog: &Catalog) -> String {
    let mut products: Vec<_> = catalog.products().collect();
    products.sort_by_key(|(name, _)| name.as_str().as_bytes());
    let mut json = format!("{{\"game\":\"{}\",\"products\":{{", catalog.game);
    let products: Vec<_> = products.iter().map(|(name, product)| format!("\"{name}\":{}", as_json(product))).collect();
    json.push_str(&products.join(","));
    json.push_str("}}");
    json
}

fn as_json(product: &Product) -> String {
    let kind = match product.kind {
        ProductKind::Unlock => "\"unlock\"".to_owned(),
        ProductKind::Consumable => "\"consumable\"".to_owned(),
        ProductKind::Pass { hours } => format!("\"pass\",\"hours\":{hours}"),
    };
    let mut prices: Vec<_> = product.prices.iter().map(|(currency, price)| (currency.code(), price.value())).collect();
    prices.sort_unstable();
    let prices: Vec<_> = prices.iter().map(|(code, price)| format!("\"{code}\":{price}")).collect();
    let grant = |grant: &CatalogGrant| match grant {
        CatalogGrant::Entitlement(right) => format!("{{\"entitlement\":\"{right}\"}}"),
        CatalogGrant::Item(item, quantity) => format!("{{\"item\":[\"{item}\",{quantity}]}}"),
    };
    let grants: Vec<_> = product.grants.iter().map(grant).collect();
    let mut shares: Vec<_> = product
        .shares
        .iter()
        .map(|(creator, share)| (creator.as_str().as_bytes(), creator, share.millionths()))
        .collect();
    shares.sort();
    let shares: Vec<_> = shares.iter().map(|(_, creator, share)| format!("\"{creator}\":{share}")).collect();
    let shares = if shares.is_empty() { String::new() } else { format!(",\"shares\":{{{}}}", shares.join(",")) };
    let (title, description) = (json_string(&product.title), json_string(&product.description));
    let (prices, grants) = (prices.join(","), grants.join(","));
    format!(
        "{{\"kind\":{kind},\"title\":{title},\"description\":{description},\"prices\":{{{prices}}},\"grants\":[{grants}]{shares}}}"
    )
}

fn json_string(text: &str) -> String {
    let mut json = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            low @ ..'\u{20}' => write!(json, "\\u{:04x}", u32::from(low)).expect("a string takes everything"),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

/// The catalogue as RON, every member that it has written out.
fn as_ron(catalog: &Catalog) -> String {
    let group = |(name, group): (&GroupId, &Group)| {
        let translations = pairs(&group.translations, |title| ron_string(title));
        format!("\"{name}\": (title: {}, translations: {translations})", ron_string(&group.title))
    };
    let groups: Vec<_> = catalog.groups().map(group).collect();
    let products: Vec<_> =
        catalog.products().map(|(name, product)| format!("\"{name}\": {}", in_ron(product))).collect();
    let (groups, products) = (groups.join(", "), products.join(", "));
    format!("Catalog(game: \"{}\", groups: {{{groups}}}, products: {{{products}}})", catalog.game)
}

fn in_ron(product: &Product) -> String {
    let kind = match product.kind {
        ProductKind::Unlock => "Unlock(".to_owned(),
        ProductKind::Consumable => "Consumable(".to_owned(),
        ProductKind::Pass { hours } => format!("Pass(hours: {hours}, "),
    };
    let grant = |grant: &CatalogGrant| match grant {
        CatalogGrant::Entitlement(right) => format!("Entitlement(\"{right}\")"),
        CatalogGrant::Item(item, quantity) => format!("Item(\"{item}\", {quantity})"),
    };
    let texts = |texts: &Texts| {
        format!("(title: {}, description: {})", ron_string(&texts.title), ron_string(&texts.description))
    };
    let percent = |share: &Share| format!("\"{}.{:04}\"", share.millionths() / 10_000, share.millionths() % 10_000);
    let Presentation { group, icon, highlighted, translations } = &product.presentation;
    let grants: Vec<_> = product.grants.iter().map(grant).collect();
    let mut members = vec![
        format!("title: {}, description: {}", ron_string(&product.title), ron_string(&product.description)),
        format!("prices: {}", pairs(&product.prices, |price| format!("\"{price}\""))),
        format!("grants: [{}], highlighted: {highlighted}", grants.join(", ")),
        format!("translations: {}", pairs(translations, texts)),
    ];
    members.extend((!product.shares.is_empty()).then(|| format!("shares: {}", pairs(&product.shares, percent))));
    members.extend(group.as_ref().map(|group| format!("group: \"{group}\"")));
    members.extend(icon.as_ref().map(|icon| format!("icon: {}", ron_string(icon))));
    format!("{kind}{})", members.join(", "))
}

fn pairs<K: Display, V>(map: &BTreeMap<K, V>, value: impl Fn(&V) -> String) -> String {
    let pairs: Vec<_> = map.iter().map(|(key, found)| format!("\"{key}\": {}", value(found))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A RON string in which everything but plain letters and digits is escaped.
fn ron_string(text: &str) -> String {
    let mut ron = "\"".to_owned();
    for character in text.chars() {
        match character {
            plain if plain.is_ascii_alphanumeric() => ron.push(plain),
            other => write!(ron, "\\u{{{:x}}}", u32::from(other)).expect("a string takes everything"),
        }
    }
    ron.push('"');
    ron
}

/// Every mistake has a place that is in the text, they are in the order of the file, and each can be shown.
fn tells_where(text: &str, error: &CatalogError) {
    assert!(!error.mistakes.is_empty());
    assert!(error.mistakes.is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
    let lines: Vec<_> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in &error.mistakes {
        assert!((1..=lines.len()).contains(&mistake.line), "{mistake}");
        assert!((1..=lines[mistake.line - 1] + 1).contains(&mistake.column), "{mistake}");
        assert!(!mistake.message.is_empty());
    }
    assert!(!error.to_string().is_empty());
}
