//! What services, methods, nodes and callers are called, and which topic, group and address that makes.

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

/// Before a service's name, makes its topic and the group of its providers.
const PREFIX: &str = "CALL_";
const LONGEST_SERVICE: usize = 100;
const LONGEST_NAME: usize = 64;
/// Characters of an incarnation.
const INCARNATION: usize = 32;

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} '{name}' cannot be used: take 1 to {limit} letters, digits, '-', '_'{more}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    limit: usize,
    more: &'static str,
}

/// A method of a service, with what it takes and gives: the interface that provider and caller share.
///
/// ```
/// use orbitmq_calls::Method;
/// const SAY_HELLO: Method<String, String> = Method::new("greeting", "sayHello");
/// ```
pub struct Method<Req, Resp> {
    service: &'static str,
    name: &'static str,
    types: PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> Method<Req, Resp> {
    /// A method by the name of its service and its own.
    #[must_use]
    pub const fn new(service: &'static str, name: &'static str) -> Self {
        Self { service, name, types: PhantomData }
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// The method's own name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<Req, Resp> Clone for Method<Req, Resp> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req, Resp> Copy for Method<Req, Resp> {}

impl<Req, Resp> fmt::Debug for Method<Req, Resp> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

/// The topic through which a service's requests go, which is also the group of its providers.
pub(crate) fn topic_of(service: &str) -> String {
    format!("{PREFIX}{service}")
}

pub(crate) fn check_service(name: &str) -> Result<(), NameError> {
    check("service", name, LONGEST_SERVICE, "")
}

/// `kind`: method, node or caller.
pub(crate) fn check_name(kind: &'static str, name: &str) -> Result<(), NameError> {
    check(kind, name, LONGEST_NAME, ", '.', ':'")
}

fn check(kind: &'static str, name: &str, limit: usize, more: &'static str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c) || (!more.is_empty() && ".:".contains(c));
    if !name.is_empty() && name.len() <= limit && name.chars().all(allowed) {
        return Ok(());
    }
    Err(NameError { kind, name: name.chars().take(40).collect(), limit, more })
}

/// Where requests for one run of a node go: `node#incarnation`. Requests to an earlier run never reach a later one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    text: Arc<str>,
    node: usize,
}

impl Address {
    /// An address of a run that begins now; greater than those of earlier runs of the node.
    pub(crate) fn new(node: &str) -> Self {
        Self { text: format!("{node}#{}", Uuid::now_v7().simple()).into(), node: node.len() }
    }

    /// The address within the id `ip@node#incarnation` under which brokers know a provider.
    pub(crate) fn of_client(id: &str) -> Option<Self> {
        let (_, address) = id.split_once('@')?;
        let (node, incarnation) = address.rsplit_once('#')?;
        let is_one = incarnation.len() == INCARNATION && incarnation.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_one && check_name("node", node).is_ok()).then(|| Self { text: address.into(), node: node.len() })
    }

    /// The node's name.
    pub(crate) fn node(&self) -> &str {
        self.text.get(..self.node).unwrap_or_default()
    }

    /// The whole of it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_make_addresses_and_come_back() {
        let (first, second) = (Address::new("shop-1.example.org:80"), Address::new("shop-1.example.org:80"));
        assert!(first < second && first.node() == "shop-1.example.org:80");
        assert_eq!(Address::of_client(&format!("10.0.0.1@{first}")), Some(first.clone()));
        assert_eq!(Address::of_client(&format!("fe80::1@{first}")), Some(first));
    }

    #[test]
    fn bad_names_say_what_is_allowed() {
        for bad in ["", "a b", "org.example.Greeting", "a#b", &"x".repeat(101)] {
            let error = check_service(bad).unwrap_err().to_string();
            assert!(error.contains("letters"), "{error}");
        }
        check_name("node", "10.0.0.1:20880").unwrap();
        assert!(check_name("node", "a#b").is_err() && check_name("caller", "ü").is_err());
    }

    proptest! {
        #[test]
        fn other_clients_are_no_providers(id in ".{0,60}") {
            prop_assume!(!id.contains('#'));
            prop_assert_eq!(Address::of_client(&id), None);
        }
    }
}
