//! Reflection of the plain types that messages carry. Keys and signed text are left out on purpose.

use bevy::app::App;
use bevy::reflect::{ReflectDeserialize, ReflectSerialize, impl_reflect_opaque};

use super::messages::{
    AccountUpdated, CatalogFailed, CatalogLoaded, ConnectionChanged, ConsumeRefused, EntitlementsChanged,
    PurchaseUpdated, StoreOpened, StoreTrouble, WalletChanged,
};
use crate::client::{AccountTrouble, AccountView, Asked, Connection, OrderState};
use crate::protocol::sync::Balance;
use crate::protocol::{EntitlementId, ItemId, OrderId, ProductId, Sha256};

impl_reflect_opaque!((in bevy_iap::protocol) OrderId(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::protocol) ProductId(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::protocol) EntitlementId(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::protocol) ItemId(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::protocol) Sha256(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::protocol::sync) Balance(Clone, Debug, PartialEq, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::client) OrderState(Clone, Debug, PartialEq, Hash, Serialize, Deserialize));
impl_reflect_opaque!((in bevy_iap::client) Connection(Clone, Debug, PartialEq));
impl_reflect_opaque!((in bevy_iap::client) Asked(Clone, Debug, PartialEq, Hash));
impl_reflect_opaque!((in bevy_iap::client) AccountView(Clone, Debug, PartialEq));
impl_reflect_opaque!((in bevy_iap::client) AccountTrouble(Clone, Debug, PartialEq));

pub(super) fn register(app: &mut App) {
    app.register_type::<OrderId>()
        .register_type::<ProductId>()
        .register_type::<EntitlementId>()
        .register_type::<ItemId>()
        .register_type::<Sha256>()
        .register_type::<Balance>()
        .register_type::<OrderState>()
        .register_type::<Connection>()
        .register_type::<Asked>()
        .register_type::<AccountView>()
        .register_type::<AccountTrouble>()
        .register_type::<AccountUpdated>()
        .register_type::<StoreOpened>()
        .register_type::<PurchaseUpdated>()
        .register_type::<EntitlementsChanged>()
        .register_type::<ConsumeRefused>()
        .register_type::<WalletChanged>()
        .register_type::<ConnectionChanged>()
        .register_type::<CatalogLoaded>()
        .register_type::<CatalogFailed>()
        .register_type::<StoreTrouble>();
}
