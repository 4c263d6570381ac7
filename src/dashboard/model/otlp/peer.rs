//! Which attributes tell what is on the other side of a call or a message: the keys of today's conventions and of those
//! before, since most senders speak the old ones.

/// The rank of `messaging.destination`, which today's conventions do not know.
pub const OLD_DESTINATION: u8 = 1;

/// What an attribute tells; of two in one group, the one with the lower number tells more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A name that somebody gave the peer.
    Name,
    Address(u8),
    /// A URL, whose host is the address.
    Url(u8),
    Database(u8),
    Namespace(u8),
    Rpc(u8),
    Messaging,
    Destination(u8),
    Operation(u8),
    HttpStatus,
    RpcStatus,
}

impl Told {
    /// What the attribute with a key tells. Asked of every attribute of a span that is not known to be of another kind.
    #[inline]
    pub fn by(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"service.peer.name" | b"peer.service" => Told::Name,
            b"server.address" => Told::Address(0),
            b"net.peer.name" => Told::Address(1),
            b"url.full" => Told::Url(2),
            b"http.url" => Told::Url(3),
            b"net.peer.ip" => Told::Address(4),
            b"network.peer.address" => Told::Address(5),
            b"db.system.name" => Told::Database(0),
            b"db.system" => Told::Database(1),
            b"db.namespace" => Told::Namespace(0),
            b"db.name" => Told::Namespace(1),
            b"rpc.service" => Told::Rpc(0),
            b"rpc.system.name" => Told::Rpc(1),
            b"rpc.system" => Told::Rpc(2),
            b"messaging.system" => Told::Messaging,
            b"messaging.destination.name" => Told::Destination(0),
            b"messaging.destination" => Told::Destination(OLD_DESTINATION),
            b"messaging.operation.type" => Told::Operation(0),
            b"messaging.operation" => Told::Operation(1),
            b"http.response.status_code" | b"http.status_code" => Told::HttpStatus,
            b"rpc.response.status_code" | b"rpc.grpc.status_code" | b"rpc.status_code" => Told::RpcStatus,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::model::answer::{HTTP_STATUS, RPC_STATUS};

    #[test]
    fn the_keys_of_an_answers_status_are_those_that_failures_are_told_by() {
        assert!(HTTP_STATUS.iter().all(|key| Told::by(key.as_bytes()) == Some(Told::HttpStatus)));
        assert!(RPC_STATUS.iter().all(|key| Told::by(key.as_bytes()) == Some(Told::RpcStatus)));
        assert_eq!(Told::by(b"http.request.method"), None);
    }
}
