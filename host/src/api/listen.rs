//! The address that the server listens on.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Error;

/// Listens, if only this machine can reach the address.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback { address });
    }
    let refused = |error: std::io::Error| Error::CannotListen { address, reason: error.to_string() };
    TcpListener::bind(address).await.map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_others_can_reach_is_refused() {
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let refused = listen(address.parse().expect("an address")).await;
            assert!(matches!(refused, Err(Error::NotLoopback { .. })), "{address}");
        }
        listen("127.0.0.1:0".parse().expect("an address")).await.expect("loopback");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = listen("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let address = first.local_addr().expect("its address");
        let error = listen(address).await.expect_err("taken").to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
