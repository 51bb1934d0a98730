//! What the store server promises, over real HTTP and straight at its books.
#![cfg(feature = "server")]

mod admin;
mod audit;
#[cfg(all(unix, feature = "postgres"))]
mod cluster;
mod command;
mod http;
mod ledger;
mod migration;
#[cfg(all(unix, feature = "postgres"))]
mod postgres;
mod purchases;
mod refusals;
mod statements;
mod support;
