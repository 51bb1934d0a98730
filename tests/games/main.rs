//! Games without a window, on real files, with a real server over HTTP on loopback.

mod account;
mod catalog_asset;
mod copies;
mod crash;
mod disk;
mod elsewhere;
mod end_to_end;
mod formats;
mod keychain;
mod keys;
mod offline;
mod overtaken;
mod panel;
mod promises;
mod refunds;
mod sandbox;
mod shop;
mod tampering;
mod waiting;
