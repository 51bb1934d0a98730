//! The shop's panel: in a window without a screen, on the real engine, with a real server.

mod approval;
mod focus;
mod hands;
mod layout;
mod log;
mod parts;
mod promises;
mod screen;
mod theme;
