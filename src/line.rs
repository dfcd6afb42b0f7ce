//! What a client and a deployment say to each other in a simulated run: the messages of the official client's protocol,
//! without a socket.

use convex::FunctionResult;

use crate::id::CollectionIndex;

/// Names a subscription of a connection: its collection, and a number that the client chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subscription(pub(crate) CollectionIndex, pub(crate) u64);

/// A message of a client to its deployment.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Subscribe { subscription: Subscription, function: String, arguments: String },
    Close(Subscription),
    Mutate { request: u64, function: String, arguments: String },
}

/// A message of the deployment. The results of all subscriptions that have news come as one message, of one moment.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Results(Vec<(Subscription, FunctionResult)>),
    Answer { request: u64, result: FunctionResult },
}
