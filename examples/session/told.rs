//! What is shown and known, for whoever watches the game: a test, or the page around it.

use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::ui::{Ink, Shop};
use serde_json::{Value, json};

use crate::game::Screen;

type Shown = (Entity, &'static Text, &'static ComputedNode, &'static UiGlobalTransform, &'static InheritedVisibility);

#[derive(SystemParam)]
pub struct Known<'w, 's> {
    screen: Res<'w, State<Screen>>,
    shop: Res<'w, Shop>,
    store: Res<'w, Store>,
    texts: Query<'w, 's, Shown, With<Ink>>,
}

impl Known<'_, '_> {
    /// Everything, as it is now.
    pub fn line(&self) -> Value {
        let is_shown = |node: &ComputedNode, visibility: &InheritedVisibility| !node.is_empty() && visibility.get();
        let texts = self.texts.iter().filter(|(_, text, node, _, shown)| !text.is_empty() && is_shown(node, shown));
        let mut texts: Vec<_> = texts.collect();
        texts.sort_unstable_by_key(|(entity, ..)| entity.index_u32());
        // Their centres, in pixels as the window or the page counts them.
        let places = texts.iter().map(|(_, _, node, place, _)| place.translation * node.inverse_scale_factor());
        let places: Vec<_> = places.map(|place| [place.x.round(), place.y.round()]).collect();
        let store = &self.store;
        let orders = store.orders().map(|order| json!([order.product.as_str(), format!("{:?}", order.state)]));
        json!({
            "screen": format!("{:?}", self.screen.get()),
            "open": self.shop.is_open(),
            "page": format!("{:?}", self.shop.page()),
            "orders": orders.collect::<Vec<_>>(),
            "shield": store.quantity("shield"),
            "owned": store.holdings().entitlements.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
            "connection": format!("{:?}", store.connection()),
            "availability": store.availability().map_or_else(|error| error.to_string(), |()| "open".to_owned()),
            "persistence": store.persistence().map(|persistence| format!("{persistence:?}")),
            "account": store.account().map(ToString::to_string),
            "device": store.device().map(|device| device.to_string()),
            "link_code": store.link_code().map(|issued| issued.code.to_string()),
            "wallet": store.wallet().iter().map(|balance| format!("{balance:?}")).collect::<Vec<_>>(),
            "texts": texts.iter().map(|(_, text, ..)| text.as_str()).collect::<Vec<_>>(),
            "places": places,
        })
    }
}
