//! The values of settings, as they are written wherever they are set.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::protocol::Micros;
use crate::server::Rate;

/// A whole number from 1 to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Count<const MOST: usize>(pub(in super::super) usize);

impl<const MOST: usize> FromStr for Count<MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|count| (1..=MOST).contains(count));
        count.map(Self).ok_or_else(|| format!("{text:?} is not a whole number from 1 to {MOST}; write one"))
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Number<const LEAST: u32, const MOST: u32>(pub(in super::super) u32);

impl<const LEAST: u32, const MOST: u32> FromStr for Number<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
        number.map(Self).ok_or_else(|| format!("{text:?} is not a whole number from {LEAST} to {MOST}; write one"))
    }
}

/// An amount above zero, in any currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Positive(pub(in super::super) Micros);

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let amount = text.parse::<Micros>().map_err(|error| error.to_string())?;
        let amount = Some(amount).filter(|amount| *amount > Micros::ZERO);
        amount.map(Self).ok_or_else(|| format!("{text:?} is not above 0; write an amount such as 5 or 0.50"))
    }
}

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct RateOrOff(pub(super) Option<Rate>);

impl FromStr for RateOrOff {
    type Err = crate::server::RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|rate| Self(Some(rate))) }
    }
}

impl fmt::Display for RateOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// Networks, with commas between them; an address is a network of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Networks(pub(in super::super) Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |text: &str| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("{text:?} is neither an address nor a network; write 10.0.0.1 or 10.0.0.0/8"))
        };
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

/// A text that is shown nowhere.
#[derive(Clone)]
pub(in super::super) struct Secret(pub(in super::super) String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
