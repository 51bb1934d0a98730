//! The catalogue is refused whole, with every mistake at once, or accepted whole.

use bevy_iap::protocol::{Catalog, Micros};
use proptest::prelude::*;

const GOOD: &str = r#"
Catalog(
    game: "arcade",
    products: {
        // A comment.
        "double_jump": Unlock(title: "Double jump", prices: { "EUR": "0.05", "USD": "0.06" }),
        "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }),
        "starter": Unlock(
            title: "Starter pack",
            description: "A bundle.",
            prices: { "EUR": "0.10" },
            grants: [Entitlement("skin"), Item("shield", 5)],
        ),
        "day_pass": Pass(title: "Day pass", hours: 24, prices: { "EUR": "0.01" }),
    },
)
"#;

fn mistakes(text: &str) -> Vec<String> {
    match Catalog::parse("catalog.ron", text) {
        Ok(_) => Vec::new(),
        Err(error) => error.mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_good_catalogue_is_read_exactly() {
    let catalog = Catalog::parse("catalog.ron", GOOD).expect("a good catalogue");
    let (_, shield) = catalog.product("shield").expect("the shield");
    assert_eq!(shield.price("EUR".parse().unwrap()).map(|price| price.micros), Micros::new(5_000).ok());
    assert_eq!(shield.grants(3, 0).len(), 1);
    let names: Vec<_> = catalog.products().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["double_jump", "shield", "starter", "day_pass"], "in the order of the file");
}

#[test]
fn layout_and_comments_make_no_other_version() {
    let squeezed = GOOD.replace("// A comment.", "").replace('\n', "\r\n");
    let digest = |text| Catalog::parse("catalog.ron", text).expect("a good catalogue").digest();
    assert_eq!(digest(GOOD), digest(&squeezed));
    assert_ne!(digest(GOOD), digest(&GOOD.replace("0.005", "0.006")));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_what_to_write() {
    let text = r#"Catalog(
    game: "arcade",
    products: {
        "sheild": Consumable(title: "Shield", prices: { "EUR": "0,005" }),
        "Jump": Unlock(title: "Jump", prices: { "EUR": "0.05" }),
        "skin": Unlock(title: "", prices: { "euro": "-1", "USD": 0.5 }, grants: []),
        "coins": Consumable(title: "Coins", prices: {}, grants: [Item("coin", 0), Entitlement("x")]),
        "pass": Pass(title: "Pass", prices: { "EUR": "0.0000001" }, hours: 0),
        "odd": Rental(title: "Odd", prices: { "EUR": "1" }),
    },
)"#;
    let found = mistakes(text);
    let expected = [
        r#"catalog.ron:4:64: product "sheild": price "0,005" is not a decimal number (write 0.005)"#,
        r#"catalog.ron:5:9: product "Jump": "Jump" is not a valid product name: use 1 to 64 lower-case letters, digits, and _ - . : with a letter first"#,
        r#"catalog.ron:6:31: product "skin": the title is empty; write what players should read"#,
        r#"catalog.ron:6:45: product "skin": "euro" is not an ISO 4217 currency code (write EUR)"#,
        r#"catalog.ron:6:53: product "skin": price "-1" is negative (write 1)"#,
        r#"catalog.ron:6:66: product "skin": price 0.5 must be in quotes, so that it stays exact (write "0.5")"#,
        r#"catalog.ron:6:81: product "skin": there is nothing in `grants`; leave it out or name what is given"#,
        r#"catalog.ron:7:53: product "coins": there is no price; write for example { "EUR": "0.05" }"#,
        r#"catalog.ron:7:79: product "coins": quantity 0 is out of range (write 1 to 1000000)"#,
        r#"catalog.ron:7:83: product "coins": a Consumable is used up, so it cannot grant an entitlement (write Item("…", 1), or make it an Unlock)"#,
        r#"catalog.ron:8:54: product "pass": price "0.0000001" has more than six decimals; the smallest amount is 0.000001"#,
        r#"catalog.ron:8:76: product "pass": hours 0 is out of range (write 1 to 87600)"#,
    ];
    assert_eq!(found[..expected.len()], expected);
    assert!(found[expected.len()].starts_with(r#"catalog.ron:9:16: product "odd": "#), "{}", found[expected.len()]);
    assert!(found[expected.len()].contains("Consumable"), "{}", found[expected.len()]);
}

#[test]
fn a_pass_has_hours_and_nothing_else_has() {
    let without = mistakes(&GOOD.replace(" hours: 24,", ""));
    assert_eq!(
        without,
        [r#"catalog.ron:14:21: product "day_pass": a Pass needs `hours`; write for example hours: 24"#]
    );
    let with = mistakes(&GOOD.replace("title: \"Shield\",", "title: \"Shield\", hours: 2,"));
    assert_eq!(with.len(), 1, "{with:?}");
    assert!(with[0].ends_with("only a Pass has `hours`; remove them, or make it a Pass"), "{with:?}");
}

#[test]
fn a_pass_without_a_right_is_refused() {
    let text = GOOD.replace("hours: 24,", "hours: 24, grants: [Item(\"coin\", 1)],");
    assert!(mistakes(&text)[0].contains("a Pass gives rights for a time"), "{:?}", mistakes(&text));
}

#[test]
fn broken_ron_is_told_with_its_place() {
    let found = mistakes(&GOOD.replace("hours: 24,", "hours: 24"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("catalog.ron:14:"), "{found:?}");
}

#[test]
fn more_grants_than_a_receipt_holds_are_refused() {
    let grants: Vec<_> = (0..65).map(|number| format!("Item(\"item_{number}\", 1)")).collect();
    let text = GOOD.replace("[Entitlement(\"skin\"), Item(\"shield\", 5)]", &format!("[{}]", grants.join(", ")));
    assert!(mistakes(&text)[0].ends_with("there are 65 grants; write 64 at most"), "{:?}", mistakes(&text));
    assert_eq!(mistakes(&text.replace(", Item(\"item_64\", 1)", "")), [""; 0]);
}

#[test]
fn creators_shares_are_read_exactly_and_are_a_part_of_the_version() {
    let shared = |shares: &str| GOOD.replace("\"0.005\" }", &format!("\"0.005\" }}, shares: {shares}"));
    let text = shared(r#"{ "zoe": "12.5", "ann": "0.0001" }"#);
    let catalog = Catalog::parse("catalog.ron", &text).expect("a good catalogue");
    let (_, shield) = catalog.product("shield").expect("the shield");
    let micros = |value| Micros::new(value).expect("in range");
    let (parts, kept) = shield.split(micros(2_000_000)).expect("splits");
    let parts: Vec<_> = parts.iter().map(|(name, part)| (name.as_str(), part.value())).collect();
    assert_eq!((parts, kept.value()), (vec![("ann", 2), ("zoe", 250_000)], 1_749_998));
    let (parts, kept) = shield.split(micros(1)).expect("splits");
    assert_eq!((parts.iter().map(|(_, part)| part.value()).sum::<i64>(), kept.value()), (0, 1));
    assert!(catalog.canonical_json().contains(r#""shares":{"ann":1,"zoe":125000}"#), "{}", catalog.canonical_json());
    assert_ne!(catalog.digest(), Catalog::parse("catalog.ron", GOOD).expect("a good catalogue").digest());
    assert_eq!(mistakes(&shared(r#"{ "ann": "50", "zoe": "50" }"#)), [""; 0]);
}

#[test]
fn mistakes_in_shares_are_told_with_their_place_and_what_to_write() {
    for (shares, told) in [
        ("{}", "there is nobody in `shares`"),
        (r#"{ "Ann": "5" }"#, r#""Ann" is not a valid creator name"#),
        (r#"{ "ann": 5 }"#, r#"share 5 must be in quotes, so that it stays exact (write "5")"#),
        (r#"{ "ann": "12,5" }"#, "it is not a percentage in decimals (write for example 12.5)"),
        (r#"{ "ann": "0" }"#, "it is out of range (write more than 0, and 100 at most)"),
        (r#"{ "ann": "0.00001" }"#, "the smallest share is 0.0001"),
        (r#"{ "ann": "60", "zoe": "40.0001" }"#, "the shares add up to 100.0001 per cent; write 100 at most"),
        (r#"{ "ann": "1", "ann": "2" }"#, "there is another share of this creator; remove one"),
    ] {
        let found = mistakes(&GOOD.replace("\"0.005\" }", &format!("\"0.005\" }}, shares: {shares}")));
        assert_eq!(found.len(), 1, "{shares}: {found:?}");
        assert!(found[0].starts_with("catalog.ron:7:") && found[0].contains(told), "{shares}: {found:?}");
    }
}

proptest! {
    #[test]
    fn the_parser_never_panics_on_any_text(text in "\\PC{0,400}") {
        let _ = Catalog::parse("any", &text);
    }

    #[test]
    fn the_parser_never_panics_on_a_damaged_catalogue(at in 0..GOOD.len(), cut in 0..40usize, put in "[\\PC\n]{0,4}") {
        prop_assume!(GOOD.is_char_boundary(at) && GOOD.is_char_boundary((at + cut).min(GOOD.len())));
        let damaged = format!("{}{put}{}", &GOOD[..at], &GOOD[(at + cut).min(GOOD.len())..]);
        let _ = Catalog::parse("damaged", &damaged);
    }
}

const SHOWN: &str = r#"
Catalog(
    game: "arcade",
    groups: {
        "power_ups": (title: "Power-ups", translations: { "ko": "강화" }),
        "looks": (title: "Looks"),
    },
    products: {
        "shield": Consumable(
            title: "Shield",
            description: "Takes one crash.",
            prices: { "EUR": "0.005" },
            group: "power_ups",
            icon: "icons/shield.png",
            highlighted: true,
            translations: { "ko": (title: "방패", description: "충돌을 한 번 막아 줍니다."), "pt": (title: "Escudo") },
        ),
    },
)
"#;

#[test]
fn how_a_product_is_shown_is_read_and_makes_no_other_version() {
    let catalog = Catalog::parse("catalog.ron", SHOWN).expect("a good catalogue");
    let (_, shield) = catalog.product("shield").expect("the shield");
    let presentation = &shield.presentation;
    assert_eq!(presentation.group.as_ref().map(|group| group.as_str()), Some("power_ups"));
    assert_eq!((presentation.icon.as_deref(), presentation.highlighted), (Some("icons/shield.png"), true));
    let groups: Vec<_> = catalog.groups().map(|(_, group)| (group.title_in("en"), group.title_in("ko-KR"))).collect();
    assert_eq!(groups, [("Power-ups", "강화"), ("Looks", "Looks")], "in the order of the file");
    let plain = "Catalog(game: \"arcade\", products: { \"shield\": Consumable(title: \"Shield\", description: \"Takes one \
                 crash.\", prices: { \"EUR\": \"0.005\" }) })";
    assert_eq!(catalog.digest(), Catalog::parse("catalog.ron", plain).expect("a good catalogue").digest());
}

#[test]
fn a_text_is_found_in_the_language_or_its_parent_or_as_the_catalogue_has_it() {
    let catalog = Catalog::parse("catalog.ron", SHOWN).expect("a good catalogue");
    let (_, shield) = catalog.product("shield").expect("the shield");
    let titles = ["ko", "ko-KR", "KO", "pt-BR", "en-GB", ""].map(|language| shield.title_in(language));
    assert_eq!(titles, ["방패", "방패", "방패", "Escudo", "Shield", "Shield"]);
    assert_eq!([shield.description_in("pt"), shield.description_in("fr")], ["", "Takes one crash."]);
}

#[test]
fn mistakes_in_how_a_product_is_shown_are_told_with_their_place_and_what_to_write() {
    let text = SHOWN
        .replace("group: \"power_ups\"", "group: \"powerups\"")
        .replace("\"pt\": (", "\"Portuguese\": (")
        .replace("\"looks\": (", "\"power_ups\": (")
        .replace("강화", " ")
        .replace("highlighted: true", "highlighted: \"yes\"");
    assert_eq!(
        mistakes(&text),
        [
            "catalog.ron:5:65: the title is empty; write what players should read",
            "catalog.ron:6:9: there is another group of this name; rename one",
            "catalog.ron:13:20: product \"shield\": there is no group powerups; write it under `groups`",
            "catalog.ron:15:26: product \"shield\": Expected boolean",
            "catalog.ron:16:82: product \"shield\": \"Portuguese\" is not a valid language: use a language tag such as ko or \
             pt-BR",
        ]
    );
}
