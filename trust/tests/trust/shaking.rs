//! Handshakes between two ends in one thread: bytes go back and forth until nobody has anything to say.

use std::sync::Arc;

use holdfast_trust::{Party, explain, server_name};
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};

/// What each end made of a handshake.
pub struct Shaken {
    pub client: Result<Connection, Error>,
    pub server: Result<Connection, Error>,
}

impl Shaken {
    /// Who each end talks to; panics when one of them refuses the other.
    pub fn parties(&self) -> (Option<Party>, Option<Party>) {
        let of = |end: &Result<Connection, Error>| match end {
            Ok(connection) => Party::at_other_end(connection).unwrap(),
            Err(error) => panic!("{}", explain(error)),
        };
        (of(&self.client), of(&self.server))
    }

    /// Why the server refused the client, in words; panics when it did not.
    pub fn server_says(&self) -> String {
        explain(self.server.as_ref().expect_err("the server refuses"))
    }

    /// Why the client refused the server.
    pub fn client_says(&self) -> String {
        explain(self.client.as_ref().expect_err("the client refuses"))
    }

    /// True when both ends are content.
    pub fn is_good(&self) -> bool {
        self.client.is_ok() && self.server.is_ok()
    }
}

/// A whole handshake, and a word in each direction after it: a client of TLS 1.3 hears only then that it is refused.
pub fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Shaken {
    let client = ClientConnection::new(client, server_name("store.example")).unwrap();
    let mut client = End::new(Connection::Client(client));
    let mut server = End::new(Connection::Server(ServerConnection::new(server).unwrap()));
    while client.tell(&mut server) | server.tell(&mut client) {}
    Shaken { client: client.result(), server: server.result() }
}

struct End {
    connection: Connection,
    failed: Option<Error>,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self { connection, failed: None }
    }

    /// Moves what it has to say; false when that is nothing.
    fn tell(&mut self, other: &mut Self) -> bool {
        let mut said = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut said).unwrap();
        }
        let mut rest = said.as_slice();
        while !rest.is_empty() && other.failed.is_none() {
            other.connection.read_tls(&mut rest).unwrap();
            other.failed = other.connection.process_new_packets().err();
        }
        !said.is_empty()
    }

    fn result(self) -> Result<Connection, Error> {
        match self.failed {
            Some(error) => Err(error),
            None if self.connection.is_handshaking() => Err(Error::HandshakeNotComplete),
            None => Ok(self.connection),
        }
    }
}
