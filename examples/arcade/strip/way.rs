//! How far an order is, as lights and a remark.

use bevy::prelude::Color;
use bevy_iap::prelude::*;

use crate::look::QUIET;
use crate::palette::{AMBER, CYAN, DANGER, GOLD};

/// What can be seen of an order's way.
pub struct Way {
    /// The light of each step: queued, sent, receipt verified. None is not lit yet.
    pub steps: [Option<Color>; 3],
    /// What else there is to say.
    pub remark: String,
    /// The remark's colour.
    pub tone: Color,
}

impl Way {
    /// The way that `order` has gone.
    pub fn of(order: &PlacedOrder) -> Self {
        let ahead = if order.provisional { AMBER } else { CYAN };
        let reason = order.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let (steps, remark, tone) = match order.state {
            OrderState::Placed => ([None; 3], "being written to the disk".to_owned(), QUIET),
            OrderState::Queued => ([Some(ahead), None, None], waiting(order, "waits for the server"), ahead),
            OrderState::Sent => ([Some(ahead), Some(ahead), None], waiting(order, "waits for the receipt"), ahead),
            OrderState::Pending => ([Some(ahead), Some(ahead), None], waiting(order, "waits for approval"), ahead),
            OrderState::Granted => (lit_up_to(CYAN), "GRANTED".to_owned(), CYAN),
            OrderState::Declined => (lit_up_to(DANGER), format!("DECLINED{reason}"), DANGER),
            OrderState::Refunded => (lit_up_to(GOLD), format!("REFUNDED{reason}"), GOLD),
            OrderState::Revoked => (lit_up_to(DANGER), format!("REVOKED{reason}"), DANGER),
            _ => ([None; 3], waiting(order, "NOT SAVED, nothing is charged"), DANGER),
        };
        Self { steps, remark, tone }
    }
}

fn lit_up_to(answer: Color) -> [Option<Color>; 3] {
    [Some(CYAN), Some(CYAN), Some(answer)]
}

/// What an order without a receipt waits for, and what is in its way.
fn waiting(order: &PlacedOrder, what: &str) -> String {
    let standing = if order.provisional { "PROVISIONAL, yours already: " } else { "" };
    match &order.trouble {
        Some(trouble) => format!("{standing}{what} ({trouble})"),
        None => format!("{standing}{what}"),
    }
}
