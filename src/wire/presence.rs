//! `setPresence` and `listPresence`: what apps show to others while they are connected.

use std::{collections::BTreeMap, time::Duration};

use convex::Value;

use super::{
    answer::{AnswerObject, bad_answer},
    arguments::Arguments,
    validator::{Validator, object, optional, required},
    value,
};
use crate::{
    limits::{PRESENCE_BYTES, PRESENCE_PEERS, PRESENCE_RATE},
    record::{Peer, PeerId, Refusal, UserId},
};

/// The slowest rate that a client follows, so that a wrong answer does not stop it.
const RATE_MIN: f64 = 0.1;
/// The shortest and the longest time for which a backend keeps a peer, as far as a client follows it.
const TTL: std::ops::RangeInclusive<f64> = 1_000.0..=600_000.0;

/// The arguments of `setPresence`, as a backend decodes them.
#[derive(Clone, Debug)]
pub(crate) struct SetPresence {
    /// The secret of the peer, of which its name is a hash.
    pub(crate) session: String,
    pub(crate) scope: Option<String>,
    /// JSON. `None`: the peer leaves.
    pub(crate) value: Option<String>,
}

pub(super) fn set_validator() -> Validator {
    object([
        required("session", Validator::String),
        optional("scope", Validator::String),
        optional("value", Validator::String),
    ])
}

pub(super) fn list_validator() -> Validator {
    object([optional("scope", Validator::String)])
}

/// The arguments of `setPresence`, as a client encodes them.
pub(crate) fn set_presence_arguments(
    session: &str,
    scope: Option<&str>,
    value: Option<&str>,
) -> BTreeMap<String, Value> {
    let mut arguments = value::fields([("session", session.into())]);
    arguments.extend(scope.map(|scope| ("scope".to_owned(), scope.into())));
    arguments.extend(value.map(|value| ("value".to_owned(), value.into())));
    arguments
}

/// The arguments of `listPresence`, as a client encodes them.
pub(crate) fn list_presence_arguments(scope: Option<&str>) -> BTreeMap<String, Value> {
    scope.map(|scope| ("scope".to_owned(), scope.into())).into_iter().collect()
}

impl SetPresence {
    pub(crate) fn decode(mut arguments: Arguments) -> Self {
        Self {
            session: arguments.string("session"),
            scope: arguments.optional_string("scope"),
            value: arguments.optional_string("value"),
        }
    }
}

/// The scope that `listPresence` asks for.
pub(crate) fn area_to_list(mut arguments: Arguments) -> Option<String> {
    arguments.optional_string("scope")
}

/// The answer to `setPresence`: how often a peer may show a new value, and how long it is shown without being heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// The time between two values.
    pub(crate) interval: Duration,
    pub(crate) ttl: Duration,
}

impl Pace {
    /// The answer as a backend encodes it.
    #[cfg(any(feature = "backend", test))]
    pub(crate) fn encode(rate: f64, ttl: Duration, peer: &PeerId) -> Value {
        let ttl = ttl.as_secs_f64() * 1_000.0;
        value::object([("peer", peer.as_str().into()), ("rate", rate.into()), ("ttl", ttl.into())])
    }

    /// The answer as a client decodes it.
    pub(crate) fn of(value: &Value) -> Result<Self, Refusal> {
        let answer = AnswerObject::of(value, "an answer")?;
        let number = |name: &str| match answer.get(name)? {
            Value::Float64(number) if number.is_finite() => Ok(*number),
            _ => Err(answer.wrong(name, "a number")),
        };
        let rate = number("rate")?.clamp(RATE_MIN, PRESENCE_RATE);
        let ttl = number("ttl")?.clamp(*TTL.start(), *TTL.end());
        Ok(Self { interval: Duration::from_secs_f64(1.0 / rate), ttl: Duration::from_secs_f64(ttl / 1_000.0) })
    }
}

/// The answer to `listPresence`, as a backend encodes it.
pub(crate) fn encode_peers(peers: &[Peer]) -> Value {
    let peer = |Peer { id, user, value }: &Peer| {
        let mut fields = value::fields([("peer", id.as_str().into()), ("value", (&**value).into())]);
        fields.extend(user.as_ref().map(|user| ("user".to_owned(), user.as_str().into())));
        Value::Object(fields)
    };
    value::object([("peers", Value::Array(peers.iter().map(peer).collect()))])
}

/// The answer to `listPresence`, as a client decodes it.
pub(crate) fn peers(value: &Value) -> Result<Vec<Peer>, Refusal> {
    let peers = AnswerObject::of(value, "an answer")?.array("peers")?;
    if peers.len() > PRESENCE_PEERS {
        return Err(bad_answer(format_args!("{} peers, and {PRESENCE_PEERS} are the most", peers.len())));
    }
    let peer = |value: &Value| {
        let peer = AnswerObject::of(value, "a peer")?;
        let text = peer.string("value")?;
        if text.len() > PRESENCE_BYTES {
            return Err(peer.wrong("value", "within the bound"));
        }
        let user = match peer.optional("user") {
            None => None,
            Some(Value::String(user)) => Some(UserId::recorded(user.as_str())),
            Some(_) => return Err(peer.wrong("user", "a string")),
        };
        Ok(Peer { id: PeerId::recorded(peer.string("peer")?), user, value: text.into() })
    };
    peers.iter().map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FunctionName;

    fn called(function: FunctionName, arguments: BTreeMap<String, Value>) -> Arguments {
        let json = serde_json::Value::from(Value::Array(vec![Value::Object(arguments)]));
        crate::wire::arguments(function, &json.to_string()).expect("a client's arguments have the function's shape")
    }

    #[test]
    fn arguments_are_decoded_as_they_were_encoded() {
        for (scope, value) in [(None, None), (Some("a"), Some("{}")), (None, Some("1"))] {
            let set = called(FunctionName::SetPresence, set_presence_arguments("secret", scope, value));
            let set = SetPresence::decode(set);
            assert_eq!((&*set.session, set.scope.as_deref(), set.value.as_deref()), ("secret", scope, value));
            let list = called(FunctionName::ListPresence, list_presence_arguments(scope));
            assert_eq!(area_to_list(list).as_deref(), scope);
        }
    }

    #[test]
    fn answers_are_decoded_as_they_were_encoded() {
        let peer = |secret: &str, user: Option<&str>| Peer {
            id: PeerId::of_session(secret),
            user: user.map(UserId::recorded),
            value: r#"{"x":1}"#.into(),
        };
        let all = [peer("a", None), peer("b", Some("replicate|bob"))];
        assert_eq!(peers(&encode_peers(&all)).unwrap(), all);
        let ttl = Duration::from_secs(6);
        let pace = Pace::of(&Pace::encode(20.0, ttl, &all[0].id)).unwrap();
        assert_eq!(pace, Pace { interval: Duration::from_millis(50), ttl });
    }

    #[test]
    fn a_client_follows_no_pace_that_stops_it_and_takes_no_answer_beyond_the_bounds() {
        let id = PeerId::of_session("a");
        let slow = Pace::of(&Pace::encode(0.0, Duration::ZERO, &id)).unwrap();
        assert_eq!(slow, Pace { interval: Duration::from_secs(10), ttl: Duration::from_secs(1) });
        let fast = Pace::of(&Pace::encode(1e9, Duration::MAX, &id)).unwrap();
        assert!(fast.interval >= Duration::from_secs_f64(1.0 / PRESENCE_RATE));
        let long = Peer { id, user: None, value: "x".repeat(PRESENCE_BYTES + 1).into() };
        assert!(peers(&encode_peers(std::slice::from_ref(&long))).is_err());
        let many = vec![Peer { value: "".into(), ..long }; PRESENCE_PEERS + 1];
        assert!(peers(&encode_peers(&many)).is_err());
    }
}
