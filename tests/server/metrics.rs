//! `/metrics`: every line is what the OpenMetrics text format wants, and the counts are right.

use std::collections::BTreeMap;

use crate::support::{Device, Shop, get, post};

/// A family of series, as it was told.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    unit: String,
    /// Name with suffix, labels, value; in order.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the text strictly: each family once, its help, type and unit before its samples, and the end at the end.
fn families(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with its mark");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next().expect("a name"), words.next().expect("a text"));
            if word == Some("HELP") {
                assert!(!families.contains_key(name), "{name} is there twice");
                current = name.to_owned();
            }
            assert_eq!(name, current, "{line}");
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "{line} comes after its samples");
            let place = match word {
                Some("HELP") => &mut family.help,
                Some("TYPE") => &mut family.kind,
                Some("UNIT") => &mut family.unit,
                _ => panic!("{line}"),
            };
            assert_eq!(std::mem::replace(place, rest.to_owned()), "", "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("closed").split(',').filter(|label| !label.is_empty());
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.to_owned(), value.strip_suffix('"').expect("in quotes").to_owned())
        };
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let sample = (name.to_owned(), labels.map(label).collect(), value.parse().expect("a number"));
        families.get_mut(&current).expect("a family").samples.push(sample);
    }
    families
}

#[test]
fn every_line_is_what_prometheus_reads() {
    let shop = Shop::open();
    let mut device = shop.device();
    let orders = [device.order("shield", 2), device.order("palace", 1)];
    device.sync(&shop, 0, &orders);
    post(shop.address(), "/v1/sync", "application/jose", b"x");
    get(shop.address(), "/v1/nothing-of-that-name");
    let answer = get(shop.address(), "/metrics");
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let families = families(answer.text());
    assert!(families.len() >= 17, "{:?}", families.keys());
    for (name, family) in &families {
        assert!(name.starts_with("iap_") && family.help.ends_with('.'), "{name}: {family:?}");
        assert!(family.unit.is_empty() || name.ends_with(&family.unit), "{name}: {family:?}");
        assert!(!family.samples.is_empty(), "{name} is never there");
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{name} is a {other}"),
        };
        for (sample, _, value) in &family.samples {
            let suffix = sample.strip_prefix(name.as_str()).expect("the family's name");
            assert!(suffixes.contains(&suffix), "{sample}");
            assert!(family.kind != "counter" || *value >= 0.0, "{sample}");
        }
        if family.kind == "histogram" {
            assert_histogram(name, family);
        }
    }
    assert!(!answer.text().contains("nothing-of-that-name"), "whoever asks makes no series");
    let sample = |family: &str, label: (&str, &str)| {
        let has = |labels: &BTreeMap<String, String>| labels.get(label.0).is_some_and(|value| value == label.1);
        families[family].samples.iter().filter(|(_, labels, _)| has(labels)).map(|(.., value)| value).sum::<f64>()
    };
    assert_eq!(sample("iap_http_requests", ("route", "/v1/sync")), 2.0);
    assert_eq!(sample("iap_http_requests", ("route", "none")), 1.0);
    assert_eq!(sample("iap_ledger_micros", ("account", "revenue")), 10_000.0);
    assert_eq!(sample("iap_ledger_micros", ("account", "wallet")), 990_000.0);
    assert_eq!(sample("iap_ledger_micros", ("currency", "EUR")), 0.0, "debits equal credits");
}

fn assert_histogram(name: &str, family: &Family) {
    let mut highest = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let bound = labels.remove("le");
        match bound.as_deref() {
            Some(bound) => {
                let before = highest.insert(labels.clone(), *value).unwrap_or_default();
                assert!(before <= *value, "{name}: the buckets are cumulative");
                assert!(bound == "+Inf" || bound.parse::<f64>().is_ok(), "{name}: {bound}");
            }
            None if sample.ends_with("_count") => {}
            None => assert!(sample.ends_with("_sum"), "{sample}"),
        }
    }
    for (sample, labels, value) in family.samples.iter().filter(|(sample, ..)| sample.ends_with("_count")) {
        assert_eq!(highest.get(labels), Some(value), "{sample}: the last bucket holds all");
    }
}

#[test]
fn sums_of_the_ledger_are_not_added_up_again_for_every_scrape() {
    let shop = Shop::open();
    let of_wallets = || {
        let metrics = get(shop.address(), "/metrics");
        let name = "iap_ledger_micros{account=\"wallet\",currency=\"EUR\"} ";
        metrics.text().lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    shop.device();
    assert_eq!(of_wallets().as_deref(), Some("1000000"));
    let joined: Device = shop.device();
    assert_eq!(joined.euros(&shop), 1_000_000);
    assert_eq!(of_wallets().as_deref(), Some("1000000"), "it is of the last minute");
}
