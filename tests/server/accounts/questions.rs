//! How many questions about accounts a server takes.

use super::*;

#[test]
fn device_asks_so_often_and_no_more_and_buys_all_the_same() {
    let shop = Shop::open();
    let (mut device, other) = (shop.device(), shop.device());
    let answers: Vec<Answer> = (0..40).map(|_| ask(&shop, &device, AccountAsk::Show)).collect();
    let refused = answers.iter().position(|answer| answer.status != 200).expect("it is too often");
    assert!(refused >= 20, "{refused}");
    answers[refused].assert_refused("/problems/too-many-requests", 429);
    let order = device.order("gift", 1);
    assert_eq!(device.sync(&shop, 0, &[order]).receipts.len(), 1);
    assert_eq!(told(&shop, &other, AccountAsk::Show).devices.len(), 1);
}
