//! What the store server promises, over real HTTP and straight at its books.
#![cfg(feature = "server")]

mod abuse;
mod accounts;
mod admin;
mod allowances;
mod attacks;
mod audit;
mod backup;
#[cfg(all(unix, feature = "postgres"))]
mod cluster;
mod command;
mod consuming;
mod crashes;
mod damaged;
mod forgeries;
mod http;
mod keys;
mod ledger;
mod limits;
mod metrics;
mod migration;
mod news;
#[cfg(all(unix, feature = "postgres"))]
mod postgres;
mod process;
mod purchases;
#[path = "../processes/random.rs"]
mod random;
mod refusals;
mod settings;
mod statements;
mod stopping;
mod storm;
mod support;
