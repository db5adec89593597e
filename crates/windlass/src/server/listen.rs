//! Opens the socket of a command that serves.

use std::io;
use std::net::SocketAddr;

use anyhow::anyhow;
use tokio::net::TcpListener;

/// Listens on this address, or says why it cannot.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    windlass_gateway::listen(address).await.map_err(|error| {
        let advice = advice(&error, address.port());
        anyhow!(error).context(format!("cannot listen on {address}{advice}"))
    })
}

fn advice(error: &io::Error, port: u16) -> String {
    if error.kind() != io::ErrorKind::AddrInUse {
        return String::new();
    }
    format!(
        ", which another program has, perhaps another windlass: `ss -ltnp sport = :{port}` shows it, and another \
         --listen avoids it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_taken_says_how_to_see_by_whom() {
        let taken = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", listen(address).await.unwrap_err());
        for said in [&format!("cannot listen on {address}"), "another windlass", "in use"] {
            assert!(error.contains(said), "{error}");
        }
        assert!(error.contains(&format!("sport = :{}", address.port())), "{error}");
    }
}
