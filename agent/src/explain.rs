//! `fingerpost explain`: why a running node answers a query for a steered name as it does.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::Value;

use crate::{node, origin};

/// How the answer is to look.
pub struct Question<'a> {
    /// The node's configuration file.
    pub config: &'a Path,
    /// The name.
    pub name: &'a str,
    /// The type.
    pub rtype: &'a str,
    /// On whose behalf; the node's own machine's without one.
    pub client: Option<node::Asker>,
    /// For programs.
    pub json: bool,
}

/// Asks the node.
pub fn run(question: &Question<'_>) -> Result<String, String> {
    // Both kinds of file name it alike.
    let outline = origin::Outline::load(question.config).map_err(|error| error.to_string())?;
    let directory = outline.state_dir().unwrap_or_default();
    let asked =
        node::Question {
            name: question.name.parse().map_err(|error| format!("NAME: {error}"))?,
            rtype: question.rtype.to_ascii_uppercase().parse().map_err(|_| {
                format!("TYPE: {:?} is no type such as A, AAAA, SRV or HTTPS", question.rtype)
            })?,
            from: question.client.unwrap_or(node::Asker::Address(Ipv4Addr::LOCALHOST.into())),
        };
    let answer = node::request(&directory, &asked).map_err(|error| {
        format!(
            "no node that steers listens in {}: {error}\n  remedy: start it, run this command as its user, set state_dir to \
             the directory that it uses, and name operators in its [enrolment]",
            directory.display()
        )
    })??;
    if question.json {
        return Ok(answer);
    }
    let answer: Value =
        serde_json::from_str(&answer).map_err(|error| format!("the node's answer: {error}"))?;
    Ok(table(&answer))
}

fn table(answer: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let how = match answer["how"].as_str().unwrap_or_default() {
        "eligible" => "from eligible endpoints",
        "open" => "nothing is eligible: from the others, by else=open",
        "other_family" => "no endpoint has an address of that family",
        "nothing" => "nothing is left: else decides",
        _ => "no endpoint of the service is known: else decides",
    };
    let mut out = String::new();
    let steering = &answer["steering"];
    let filters: Vec<String> = steering["filters"].as_array().into_iter().flatten().map(text).collect();
    let _ = writeln!(
        out,
        "{} {} for {}: service {}, TTL {}, else {}\n{}\n{how}; filters: {}\n",
        text(&answer["name"]),
        text(&answer["type"]),
        text(&answer["client"]),
        text(&steering["service"]),
        answer["ttl"],
        text(&steering["else"]),
        position(answer),
        if filters.is_empty() { "none".to_owned() } else { filters.join(", ") },
    );
    let mut rows = vec![["endpoint", "region", "state", "distance", "load", "verdict"].map(String::from)];
    for endpoint in answer["endpoints"].as_array().into_iter().flatten() {
        let distance = match endpoint["distance_us"].as_u64() {
            Some(micros) => {
                format!("{:.3} ms ({})", micros as f64 / 1e3, text(&endpoint["distance_from"]))
            }
            None => format!("- ({})", text(&endpoint["distance_from"])),
        };
        rows.push([
            format!("{}:{}", text(&endpoint["node"]), endpoint["port"]),
            text(&endpoint["region"]),
            text(&endpoint["state"]),
            distance,
            format!("{} %", endpoint["load"].as_u64().unwrap_or(0) * 100 / 255),
            verdict(endpoint),
        ]);
    }
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            let _ =
                if column + 1 == row.len() { write!(out, "{cell}") } else { write!(out, "{cell:width$}  ") };
        }
        out.push('\n');
    }
    out
}

/// Where the client is taken to be, and why.
fn position(answer: &Value) -> String {
    let position = &answer["position"];
    let parts = [("region ", &position["region"]), ("node ", &position["node"])];
    let mut said: Vec<String> =
        parts.iter().filter_map(|(what, value)| value.as_str().map(|name| format!("{what}{name}"))).collect();
    if let [Value::Number(latitude), Value::Number(longitude)] =
        position["place"].as_array().map_or(&[][..], Vec::as_slice)
    {
        said.push(format!("place {latitude},{longitude}"));
    }
    let said = said.join(", ");
    let network = position["network"].as_str().unwrap_or_default();
    let source = match position["from"].as_str() {
        Some("map") => format!("{said} (map, {network})"),
        Some("database") => format!("{said} (database, {network})"),
        _ => "taken to be at the node that is asked".to_owned(),
    };
    let is_of_no_use = position["from"] != "asked_node" && position["is_at_the_asked_node"] == true;
    let use_of_it =
        if is_of_no_use { ": no better than to take it to be at the node that is asked" } else { "" };
    let client = format!("client {}", position["address"].as_str().unwrap_or_default());
    let subnet =
        match (&answer["ecs_scope"], answer["client"].as_str().is_some_and(|text| text.contains('/'))) {
            (Value::Number(scope), _) => format!("; EDNS Client Subnet, scope /{scope}"),
            (_, true) => "; EDNS Client Subnet is not looked at: the name has no filter ecs".to_owned(),
            _ => String::new(),
        };
    format!("{client}: {source}{use_of_it}{subnet}")
}

/// Its place in the answer, or the step that left it out and why.
fn verdict(endpoint: &Value) -> String {
    let passed: Vec<&str> = endpoint["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|step| step["kept"] == true && step["step"] != "answer")
        .filter_map(|step| step["step"].as_str())
        .collect();
    let passed = if passed.is_empty() { String::new() } else { format!(" (passed {})", passed.join(", ")) };
    if let Some(place) = endpoint["place_in_answer"].as_u64() {
        return format!("answer {place}{passed}");
    }
    let dropped = endpoint["steps"].as_array().into_iter().flatten().rfind(|step| step["kept"] == false);
    let step = dropped.and_then(|step| step["step"].as_str()).unwrap_or("not reached");
    match endpoint["against"].as_str().filter(|against| !against.is_empty()) {
        Some(against) => format!("out by {step}: {against}{passed}"),
        None => format!("out by {step}{passed}"),
    }
}
