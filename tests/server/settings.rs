//! The settings of `serve`: where they come from, which one wins, and what is told of a wrong one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bevy_iap::protocol::Micros;
use bevy_iap::server::{AllowanceRules, Limits, LocalServer, ServerConfig};
use tempfile::TempDir;

use crate::support::catalog;

/// Runs `iap-server serve --print-config` with a file of settings, and returns what it printed.
fn printed(file: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
    let (_folder, path) = written(file);
    let output = Command::new(env!("CARGO_BIN_EXE_iap-server"))
        .args(["serve", "--print-config", "--config"])
        .arg(path)
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn written(file: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("server.ron");
    fs::write(&path, file).expect("writes");
    (folder, path)
}

fn assert_line(printed: &str, line: &str) {
    assert!(printed.lines().any(|found| found.trim() == line), "{line} is not in {printed}");
}

#[test]
fn flag_goes_before_the_environment_that_before_the_file_and_that_before_the_default() {
    let file = r#"Server(queue: 5, batch: 6, connections: 7, orders_per_device: "1:2")"#;
    let shown = printed(file, &["--queue", "50"], &[("IAP_QUEUE", "500"), ("IAP_BATCH", "600")]).expect("works");
    assert_line(&shown, "queue: 50, // flag");
    assert_line(&shown, "batch: 600, // environment");
    assert_line(&shown, "connections: 7, // file");
    assert_line(&shown, "orders_per_device: \"1:2\", // file");
    assert_line(&shown, "memory: 64, // default");
    assert_line(&shown, "allowance_percent: 20, // default");
    assert_line(&shown, "allowance_most: \"5\", // default");
    assert_line(&shown, "listen: \"127.0.0.1:7878\", // default");
    assert_line(&shown, "// welcome is not set");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let all = r#"Server(catalog: "a.ron", data: "b", listen: "0.0.0.0:1", welcome: "1.00EUR", trust_proxy: "10.0.0.0/8",
        allow_origin: "https://games.example", connections_per_address: 3, orders_per_address: "off", time: 4,
        requests_per_address: "3:4", enrolments_per_address: "5:6", limit_loopback: true, memory: 2,
        allowance_percent: 0, allowance_most: "0.50", allowance_days: 3, allowance_grace_days: 0, allowance_orders: 9,
        codes_made_per_device: "1:1", codes_tried_per_device: "off", codes_tried_per_address: "2:2", codes_tried: "3:3",
        questions_per_device: "4:4", questions_per_address: "off",
        devices_per_account: 4, login_issuer: "https://login.example", login_audience: "arcade-game",
        login_keys: "keys.json", login_max_age: 60, login_nonce: "optional")"#;
    let shown = printed(all, &[], &[]).expect("works");
    assert_line(&shown, "orders_per_address: \"off\", // file");
    assert_line(&shown, "allowance_most: \"0.5\", // file");
    assert_line(&shown, "login_nonce: \"optional\", // file");
    assert_line(&shown, "devices_per_account: 4, // file");
    let again = printed(&shown, &[], &[]).expect("it is a file of settings");
    assert_eq!(
        again.replace("// file", "").replace("// default", ""),
        shown.replace("// file", "").replace("// default", "")
    );
}

#[test]
fn secret_is_never_shown() {
    for (file, arguments, environment, source) in [
        ("Server(admin_token: \"hunter2\")", &[][..], &[][..], "file"),
        ("Server()", &["--admin-token", "hunter2"], &[], "flag"),
        ("Server()", &[], &[("IAP_ADMIN_TOKEN", "hunter2")], "environment"),
    ] {
        let shown = printed(file, arguments, environment).expect("works");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_line(&shown, &format!("// admin_token is set and not shown // {source}"));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_iap-server"))
        .args(["help", "serve"])
        .env("IAP_ADMIN_TOKEN", "hunter2")
        .output()
        .expect("the program starts");
    assert!(!String::from_utf8(output.stdout).expect("text").contains("hunter2"));
}

#[test]
fn wrong_setting_is_told_with_its_line_and_the_nearest_right_one() {
    for (file, told) in [
        (
            "Server(\n    queue: 5,\n    conections: 6,\n)",
            "server.ron:3:5: there is no setting \"conections\"; did you mean \"connections\"?",
        ),
        (
            "Server(\n    something_else: 6,\n)",
            "there is no setting \"something_else\"; `iap-server help serve` lists them",
        ),
        ("Server(\n    orders_per_device: \"fast\",\n)", "server.ron:2:"),
        ("Server(\n    orders_per_device: \"fast\",\n)", "\"fast\" is not a rate; write how many a minute"),
        ("Server(trust_proxy: \"me\")", "\"me\" is neither an address nor a network"),
        ("Server(queue: -1)", "server.ron:1:"),
        ("Server(queue: 1", "server.ron:1:"),
    ] {
        let error = printed(file, &[], &[]).expect_err(file);
        assert!(error.contains(told), "{told} is not in {error}");
    }
    let (folder, _) = written("");
    let output = Command::new(env!("CARGO_BIN_EXE_iap-server"))
        .args(["serve", "--config", "nowhere.ron"])
        .current_dir(folder.path())
        .output()
        .expect("the program starts");
    assert!(String::from_utf8(output.stderr).expect("text").contains("`nowhere.ron` cannot be read"));
}

#[test]
fn setting_out_of_its_range_is_refused_with_the_range() {
    for (name, wrong, range) in [
        ("connections", &["0", "1000001"][..], "1 to 1000000"),
        ("connections_per_address", &["0", "1000001"], "1 to 1000000"),
        ("queue", &["0", "1000001"], "1 to 1000000"),
        ("batch", &["0", "1000001"], "1 to 1000000"),
        ("memory", &["0", "4096", "18446744073709551615"], "1 to 4095"),
        ("time", &["0", "86401", "18446744073709551615"], "1 to 86400"),
        ("allowance_percent", &["101", "18446744073709551615"], "0 to 100"),
        ("allowance_days", &["0", "366"], "1 to 365"),
        ("allowance_grace_days", &["366"], "0 to 365"),
        ("allowance_orders", &["0", "1000001"], "1 to 1000000"),
    ] {
        for value in wrong {
            let told = format!("\"{value}\" is not a whole number from {range}; write one");
            let error = printed(&format!("Server({name}: {value})"), &[], &[]).expect_err(name);
            assert!(error.contains(&told), "{told} is not in {error}");
            let flag = format!("--{}", name.replace('_', "-"));
            let error = printed("Server()", &[&flag, value], &[]).expect_err(name);
            assert!(error.contains(&told), "{told} is not in {error}");
        }
        for right in range.split(" to ") {
            assert_line(
                &printed(&format!("Server({name}: {right})"), &[], &[]).expect("it is in range"),
                &format!("{name}: {right}, // file"),
            );
        }
    }
}

#[test]
fn server_with_a_limit_out_of_its_range_does_not_start() {
    let refused = |change: &dyn Fn(&mut Limits)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = ServerConfig::new(folder.path(), catalog());
        change(&mut config.limits);
        LocalServer::start(config).expect_err("it is refused").to_string()
    };
    assert!(refused(&|limits| limits.batch = 0).contains("batch cannot be 0; write 1 to 1000000"));
    assert!(refused(&|limits| limits.queue = usize::MAX).contains("queue cannot be"));
    assert!(refused(&|limits| limits.memory = 1 << 32).contains("memory cannot be 4294967296 bytes"));
    assert!(refused(&|limits| limits.time = Duration::ZERO).contains("time cannot be 0ns"));
    assert!(refused(&|limits| limits.time = Duration::MAX).contains("write 1ms to 86400s"));
}

#[test]
fn server_with_rules_of_allowances_out_of_their_ranges_does_not_start() {
    let refused = |change: &dyn Fn(&mut AllowanceRules)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = ServerConfig::new(folder.path(), catalog());
        change(&mut config.allowances);
        LocalServer::start(config).expect_err("it is refused").to_string()
    };
    assert!(refused(&|rules| rules.percent = 101).contains("allowance_percent cannot be 101; write 0 to 100"));
    assert!(refused(&|rules| rules.most = Micros::ZERO).contains("allowance_most cannot be 0; write more than 0"));
    assert!(refused(&|rules| rules.days = 0).contains("allowance_days cannot be 0; write 1 to 365"));
    assert!(refused(&|rules| rules.grace_days = 366).contains("allowance_grace_days cannot be 366"));
    assert!(refused(&|rules| rules.orders = 0).contains("allowance_orders cannot be 0"));
    let error = printed("Server(allowance_most: \"0\")", &[], &[]).expect_err("it is refused");
    assert!(error.contains("\"0\" is not above 0; write an amount such as 5 or 0.50"), "{error}");
}

#[test]
fn store_without_a_catalogue_or_a_folder_is_told_what_to_pass() {
    let (_folder, path) = written("Server(data: \"store\")");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_iap-server")).args(arguments).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, error) = run(&["serve", "--config", path.to_str().expect("UTF-8")]);
    assert_eq!((code, error.contains("no catalog is set; pass --catalog")), (Some(1), true), "{error}");
    let (code, error) = run(&["serve", "--catalog", "catalog.ron"]);
    assert_eq!((code, error.contains("no data is set; pass --data")), (Some(1), true), "{error}");
}
