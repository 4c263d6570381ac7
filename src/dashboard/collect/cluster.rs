//! A Kafka in the settings: `eu-1=10.0.0.1:9092,10.0.0.2:9092`.

use std::str::FromStr;

/// A Kafka whose groups are asked for their lag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// As given, or its first server.
    pub name: String,
    /// `HOST:PORT` of one or more of its servers, with commas between.
    pub servers: String,
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write HOST:PORT, or several of one Kafka with commas between, as in eu-1=10.0.0.1:9092,10.0.0.2:9092";
        let (name, servers) = match text.split_once('=') {
            Some((name, servers)) => (Some(name.trim()).filter(|name| !name.is_empty()), servers),
            None => (None, text),
        };
        let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
        let wrong = servers.iter().find(|server| !is_server(server));
        if let Some(wrong) = wrong {
            return Err(format!("{wrong:?} is no address of a Kafka: {FORM}"));
        }
        Ok(Self { name: name.unwrap_or(servers[0]).to_owned(), servers: servers.join(",") })
    }
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    !host.is_empty() && !host.contains(['/', '@', ' ', '=']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kafka_has_a_name_and_servers_with_ports() {
        let read = |text: &str| text.parse::<Cluster>().map(|one| (one.name, one.servers));
        let of = |name: &str, servers: &str| Ok((name.to_owned(), servers.to_owned()));
        assert_eq!(read("127.0.0.1:9092"), of("127.0.0.1:9092", "127.0.0.1:9092"));
        assert_eq!(read("eu-1 = a:1, b:2"), of("eu-1", "a:1,b:2"));
        assert_eq!(read("=[::1]:9092"), of("[::1]:9092", "[::1]:9092"));
        for wrong in ["", "kafka", "a:0", "a:70000", "a:1,,b:2", "http://a:1", "eu=u:p@a:1x", "a b:1"] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("HOST:PORT"), "{wrong}: {error}");
        }
    }
}
