//! What the store server promises, over real HTTP and straight at its books.
#![cfg(feature = "server")]

mod purchases;
mod support;
