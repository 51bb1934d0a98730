//! Who buys what, and everything that is sent for it.

use bevy_iap::protocol::{OrderId, Token};

use crate::random::Random;
use crate::support::Device;

/// How many orders each device makes.
pub const CHAIN: usize = 20;
/// How often each order is sent.
pub const TIMES: usize = 10;
/// How many orders there are in one request at most.
const MOST: usize = 8;

/// An order, and another one that has its id.
pub struct Placed {
    pub id: OrderId,
    pub token: Token,
    pub micros: i64,
    /// Who signed the other one: a place among the customers.
    pub other_by: usize,
    pub other: Token,
}

/// A device and its orders, in the order of its chain.
pub struct Customer {
    pub device: Device,
    pub orders: Vec<Placed>,
}

/// So many customers, who have signed everything that they will send.
pub fn customers(count: usize, random: &mut Random) -> Vec<Customer> {
    let mut customers: Vec<Customer> =
        (0..count).map(|_| Customer { device: Device::new(), orders: Vec::new() }).collect();
    for buyer in 0..count {
        for place in 0..CHAIN {
            let order = placed(&mut customers, buyer, place, random);
            customers[buyer].orders.push(order);
        }
    }
    customers
}

fn placed(customers: &mut [Customer], buyer: usize, place: usize, random: &mut Random) -> Placed {
    let quantity = u32::try_from(random.up_to(3)).expect("a small number");
    let device = &mut customers[buyer].device;
    let claims = device.claims("shield", quantity);
    let token = device.sign(&claims);
    let mut other = claims.clone();
    let mut other_by = buyer;
    match place % 4 {
        0 => other.quantity += 1,
        1 => other.product = "gift".parse().expect("a name"),
        2 => other.issued_at += 1,
        _ => {
            // Somebody else's, who would pay for it.
            other_by = (buyer + 1) % customers.len();
            other = customers[other_by].device.claims("shield", quantity);
            other.id = claims.id;
        }
    }
    let micros = claims.price.micros.value() * i64::from(quantity);
    let other = other.sign(&customers[other_by].device.key).expect("signs");
    assert_ne!(token, other);
    Placed { id: claims.id, token, micros, other_by, other }
}

/// One request.
pub enum Sending {
    /// Orders of a customer that follow each other, and whether the answer is lost.
    Run { customer: usize, first: usize, end: usize, lost: bool },
    /// Another order under the id of one that is settled.
    Other { customer: usize, place: usize },
}

impl Sending {
    pub fn customer(&self) -> usize {
        match *self {
            Self::Run { customer, .. } | Self::Other { customer, .. } => customer,
        }
    }

    /// How many orders of the customer must be settled before: an order that comes before the one that it follows is
    /// declined, and another order under an id that nobody has used is an order like any other.
    fn needs(&self) -> usize {
        match *self {
            Self::Run { first, .. } => first,
            Self::Other { place, .. } => place + 1,
        }
    }
}

/// What is still to be sent.
pub struct Pool {
    random: Random,
    ready: Vec<Sending>,
    /// What has to wait, for each customer.
    waiting: Vec<Vec<Sending>>,
    /// How many orders of each customer are known to be settled.
    settled: Vec<usize>,
    under_way: usize,
}

/// What somebody who could send something should do.
pub enum Next {
    Send(Sending),
    Wait,
    End,
}

impl Pool {
    pub fn new(customers: usize, mut random: Random) -> Self {
        let waiting = (0..customers).map(|customer| sendings(customer, &mut random)).collect();
        let settled = vec![0; customers];
        let mut pool = Self { random, ready: Vec::new(), waiting, settled, under_way: 0 };
        (0..customers).for_each(|customer| pool.learn(customer, 0));
        pool
    }

    /// Any of what may be sent now.
    pub fn take(&mut self) -> Next {
        if !self.ready.is_empty() {
            self.under_way += 1;
            let place = self.random.up_to(self.ready.len()) - 1;
            return Next::Send(self.ready.swap_remove(place));
        }
        match self.under_way {
            0 => Next::End,
            _ => Next::Wait,
        }
    }

    /// Something that was taken was sent; `settled` orders of its customer are known to be settled, if it was answered.
    pub fn sent(&mut self, customer: usize, settled: usize) {
        self.under_way -= 1;
        self.learn(customer, settled);
    }

    pub fn settled(&self, customer: usize) -> usize {
        self.settled[customer]
    }

    /// How much was never sent.
    pub fn left(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum::<usize>() + self.ready.len()
    }

    fn learn(&mut self, customer: usize, settled: usize) {
        let known = self.settled[customer].max(settled);
        self.settled[customer] = known;
        self.ready.extend(self.waiting[customer].extract_if(.., |sending| sending.needs() <= known));
    }
}

/// Every order ten times, each time with other neighbours, and half of the answers lost; and each of the other orders.
fn sendings(customer: usize, random: &mut Random) -> Vec<Sending> {
    let mut sendings = Vec::new();
    for _ in 0..TIMES {
        let mut first = 0;
        while first < CHAIN {
            let end = (first + random.up_to(MOST)).min(CHAIN);
            sendings.push(Sending::Run { customer, first, end, lost: false });
            first = end;
        }
    }
    // The last time, everything is answered, so that the rest can follow.
    let answered = sendings.iter().rposition(|sending| sending.needs() == 0).unwrap_or_default();
    let mut places: Vec<usize> = (0..answered).collect();
    for _ in 0..sendings.len().div_ceil(2) {
        let place = places.swap_remove(random.up_to(places.len()) - 1);
        if let Sending::Run { lost, .. } = &mut sendings[place] {
            *lost = true;
        }
    }
    sendings.extend((0..CHAIN).map(|place| Sending::Other { customer, place }));
    sendings
}
