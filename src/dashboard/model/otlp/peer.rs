//! Which attributes tell what is on the other side of a call or a message: the keys of today's conventions and of those
//! before, since most senders speak the old ones.

/// Whether an attribute may tell. Asked of every attribute of a span that is not known to be of another kind.
#[inline]
pub fn tells(key: &[u8]) -> bool {
    matches!(
        key,
        b"service.peer.name"
            | b"peer.service"
            | b"server.address"
            | b"net.peer.name"
            | b"net.peer.ip"
            | b"network.peer.address"
            | b"url.full"
            | b"http.url"
            | b"db.system.name"
            | b"db.system"
            | b"db.namespace"
            | b"db.name"
            | b"rpc.service"
            | b"rpc.system.name"
            | b"rpc.system"
            | b"messaging.system"
            | b"messaging.destination.name"
            | b"messaging.destination"
            | b"messaging.operation.type"
            | b"messaging.operation"
            | b"http.response.status_code"
            | b"http.status_code"
            | b"rpc.response.status_code"
            | b"rpc.grpc.status_code"
            | b"rpc.status_code"
    )
}
