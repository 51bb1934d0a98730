mod headless;
use std::process::ExitCode;
fn main() -> ExitCode {
    let a: Vec<String> = std::env::args().skip(1).collect();
    match a[0].as_str() {
        "--client" => headless::client(&a[1], &a[2], &a[3], a[4] == "offline"),
        "--kills" => headless::kills(a[1].parse().unwrap()),
        _ => headless::play(),
    }
}
