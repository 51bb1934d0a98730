//! What the store server promises, over real HTTP and straight at its books.
#![cfg(feature = "server")]

mod admin;
mod audit;
mod command;
mod forgeries;
mod http;
mod ledger;
mod migration;
mod purchases;
mod refusals;
mod statements;
mod support;
