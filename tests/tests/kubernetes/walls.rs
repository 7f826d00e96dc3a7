//! The NetworkPolicy, in force. Whoever is kept out here has a certificate that the stores would take.

use holdfast_stage::{Ended, Stage};
use serde_json::{Value, json};

/// How a program says that nobody answered. Where somebody did, and either did not believe the other, it says that instead.
const UNREACHED: &str = "no store could be reached";

pub fn in_force(stage: &mut Stage) {
    stage.client("east", &["put", "wall", "seen"]).unwrap();
    let get = |site: &str, name: &str, labels: &Value, at: &str| {
        stage.run_once(site, name, labels, &["get", "--at", at, "wall"]).unwrap()
    };
    let client = stage.labels_of_client();
    let foreign = json!({"app": "foreign"});
    let service = stage.service();
    for site in ["east", "north"] {
        let Ended { code, said } = get(site, "program", &client, &service);
        assert!(code == 0 && said.contains("seen"), "{site}: {code}: {said}");
        let Ended { code, said } = get(site, "foreign", &foreign, &service);
        assert!(code != 0 && said.contains(UNREACHED), "{site}: {code}: {said}");
    }
    // Not the ports of stores either, which even a client has no business with.
    let address = stage.address(&stage.pod("east", 0)).unwrap();
    let Ended { code, said } = get("east", "program", &client, &format!("{address}:7400"));
    assert!(code != 0 && said.contains(UNREACHED), "{code}: {said}");
}
