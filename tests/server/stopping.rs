//! A server that is told to stop while devices buy: it finishes what it took, answers it, and ends.

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::Status;
use bevy_iap::server::DataFolder;

use crate::process::Process;
use crate::support::{CATALOG, Device, game, try_send};

#[test]
fn server_that_stops_under_load_has_booked_all_it_answered_and_answers_nothing_by_half() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (catalog, data) = (folder.path().join("catalog.ron"), folder.path().join("store"));
    fs::write(&catalog, CATALOG).expect("writes");
    let mut process = Process::serve(&catalog, &data, &[]);
    let key = DataFolder::open(&data).and_then(|folder| folder.key()).expect("a key").public();
    let address = process.address;
    let idle = TcpStream::connect(address).expect("connects");
    // What each device was answered, and how its last question ended.
    let answered: Vec<(Device, u64, u64)> = thread::scope(|scope| {
        let buyers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut device = Device::new();
                    assert_eq!(device.enrol(address).status, 201);
                    let (mut sent, mut granted) = (0, 0);
                    loop {
                        let order = device.order("gift", 1);
                        let request = device.request(sent, &[order]).sign(&device.key).expect("signs");
                        let headers = [("content-type", "application/jose")];
                        let body = request.as_str().as_bytes();
                        sent += 1;
                        // No answer that was cut off is taken for one: `try_send` compares its length.
                        match try_send(address, "POST", "/v1/sync", &headers, body) {
                            Some(answer) if answer.status == 200 => {
                                let keys = [key];
                                let token = bevy_iap::protocol::Token::from_text(answer.text());
                                let account = device.account();
                                let response = bevy_iap::protocol::sync::SyncResponse::verify(
                                    &token,
                                    &keys,
                                    &account,
                                    &game(),
                                    &request,
                                );
                                granted += response.expect("the whole answer").receipts.len() as u64;
                            }
                            Some(answer) => {
                                answer.assert_refused("/problems/unavailable", 503);
                                return (device, sent, granted);
                            }
                            None => return (device, sent, granted),
                        }
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(700));
        let started = Instant::now();
        process.signal("-TERM");
        assert_eq!(process.child.wait().expect("ends").code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "it waits for nobody idle: {:?}", started.elapsed());
        buyers.into_iter().map(|buyer| buyer.join().expect("ends")).collect()
    });
    drop(idle);
    let mut books = DataFolder::open(&data).and_then(|folder| folder.books()).expect("the books open");
    assert!(answered.iter().map(|(_, _, granted)| granted).sum::<u64>() > 20, "there was no load");
    for (device, sent, granted) in answered {
        let summary = books.show(&device.account()).expect("reads").expect("is there");
        // The last question may not have arrived; all others were answered, and what was taken was answered too.
        assert!(sent - granted <= 1, "{sent} were sent and {granted} answered");
        assert_eq!(summary.orders.get("granted"), Some(&granted));
        assert!(summary.latest.iter().all(|order| order.status == Status::Granted));
    }
}
