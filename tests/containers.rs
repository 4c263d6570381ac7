//! `docker-compose.yml` and `Dockerfile` against the binary and the README: they are not run here, but every flag
//! and variable in them is one that the binary knows, and every service has the name and port that it is said to have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .expect("a file of the repository")
}

/// The items of a list in brackets, with or without quotes.
fn list(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect()
}

/// What is said of one service, or of all that share an anchor.
#[derive(Default, Debug)]
struct Section {
    /// Empty for foreign images.
    command: Vec<String>,
    ports: Vec<String>,
    variables: BTreeMap<String, String>,
    foreign: bool,
}

/// The sections of the compose file by name; those that begin with `x-` are what others take up.
fn compose() -> BTreeMap<String, Section> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let (mut top, mut name) = (String::new(), String::new());
    for line in read("docker-compose.yml").lines().filter(|line| !line.trim().starts_with('#')) {
        let depth = line.len() - line.trim_start().len();
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        match depth {
            0 => {
                top = key.to_owned();
                name = if key.starts_with("x-") { key.to_owned() } else { String::new() };
                continue;
            }
            2 if top == "services" => {
                name = key.to_owned();
                sections.entry(name.clone()).or_default();
                continue;
            }
            _ if name.is_empty() => continue,
            _ => {}
        }
        let section = sections.entry(name.clone()).or_default();
        match key {
            "command" => section.command = list(value),
            "ports" => section.ports = list(value),
            "image" => section.foreign = value != "throughline:local",
            _ if key.starts_with(|first: char| first.is_ascii_uppercase()) => {
                section.variables.insert(key.to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    sections
}

/// What `throughline … --help` says after these arguments; it is refused where one of them is unknown.
fn help(arguments: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_throughline")).args(arguments).arg("--help").output();
    let output = output.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    // In one line: long texts are wrapped.
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The port at the end of an address.
fn port(address: &str) -> u16 {
    address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("no port: {address}"))
}

/// The address after `--listen`.
fn listens(command: &[String]) -> u16 {
    let at = command.iter().position(|word| word == "--listen").expect("it says where it listens");
    port(&command[at + 1])
}

/// Services and ports of the table "The demo shop" of the README.
fn readme() -> BTreeMap<String, u16> {
    let text = read("README.md");
    let table = text.split("## The demo shop").nth(1).expect("the chapter");
    let rows =
        table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = rows.skip(2).map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[1].to_owned(), port(cells[2].trim_matches(['<', '>'])))).collect()
}

#[test]
fn every_flag_and_variable_is_known() {
    let sections = compose();
    let dockerfile = read("Dockerfile");
    let default = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let mut commands = vec![("the Dockerfile", list(default))];
    for (name, section) in
        sections.iter().filter(|(name, section)| !section.foreign && !name.starts_with("x-"))
    {
        assert!(!section.command.is_empty(), "{name} has no command");
        commands.push((name, section.command.clone()));
    }
    assert!(commands.len() > 9, "the dashboard, eight services and the Dockerfile: {commands:?}");
    for (name, command) in &commands {
        let help = help(command);
        for flag in command.iter().filter(|word| word.starts_with("--")) {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{name}: {flag}"
            );
        }
    }
    let (dashboard, service) = (help(&["dashboard".into()]), help(&["service".into()]));
    let mut known = 0;
    for (name, section) in sections.iter().filter(|(_, section)| !section.foreign) {
        let help = if name == "dashboard" { &dashboard } else { &service };
        for variable in section.variables.keys() {
            // What may hold a password is shown without its value.
            let shown = ["=", "]"].map(|end| format!("[env: {variable}{end}"));
            assert!(shown.iter().any(|shown| help.contains(shown)), "{name}: {variable}");
            known += 1;
        }
    }
    assert!(known > 0, "variables are set");
}

#[test]
fn names_and_ports_agree_with_the_readme() {
    let sections = compose();
    let ours: BTreeMap<String, u16> = sections
        .iter()
        .filter(|(name, section)| !section.foreign && !name.starts_with("x-"))
        .map(|(name, section)| (name.clone(), listens(&section.command)))
        .collect();
    assert_eq!(ours, readme(), "docker-compose.yml and the table in the README");
    for (name, section) in sections.iter().filter(|(name, _)| ours.contains_key(*name)) {
        for published in &section.ports {
            let [address, outside, inside] = published.split(':').collect::<Vec<_>>()[..] else {
                panic!("{name}: {published}")
            };
            assert_eq!(address, "127.0.0.1", "{name} is published on loopback only");
            assert_eq!(outside, inside, "{name}: the port is the same inside and outside");
            let told = section.command.iter().any(|word| word.ends_with(&format!(":{inside}")));
            assert!(told, "{name}: nothing listens on {inside}");
        }
        let service = section.command.get(1).filter(|_| section.command[0] == "service");
        assert!(service.is_none_or(|service| service == name), "{name} runs {service:?}");
    }
    // Where the services reach each other.
    let otlp = BTreeSet::from([4317, 4318]);
    for (variable, value) in sections.values().filter(|section| !section.foreign).flat_map(|s| &s.variables) {
        let Some(address) = value.strip_prefix("http://") else { continue };
        let (host, port) = (address.split(':').next().unwrap_or_default(), port(address));
        let right =
            ours.get(host).is_some_and(|own| *own == port || host == "dashboard" && otlp.contains(&port));
        assert!(right, "{variable}: {value}");
    }
    // The image itself.
    let dockerfile = read("Dockerfile");
    let exposed = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).expect("ports");
    for port in exposed.split(' ') {
        assert!(dockerfile.contains(&format!("0.0.0.0:{port}")), "nothing listens on {port}");
    }
    assert!(
        dockerfile.contains(&format!("http://127.0.0.1:{}/readyz", ours["dashboard"])),
        "the health check"
    );
}
