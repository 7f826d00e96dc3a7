//! The command line.

use std::process::Output;

use holdfast_tests::scene::Scene;
use serde_json::Value;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn single_requests_and_the_state_of_the_fleet_are_had_from_the_command_line() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let written = json(&scene.run(&["put", "fruit/apple", "red", "--json"]).await);
    assert!(scene.run(&["put", "fruit/pear", "green"]).await.status.success());
    let read = json(&scene.run(&["get", "fruit/apple", "--json"]).await);
    assert_eq!((&read["value"], &read["version"]), (&Value::from("red"), &written["version"]));
    let version = written["version"].as_str().and_then(|version| version.parse::<u64>().ok());
    assert!(
        version.is_some_and(|version| version > 1 << 53),
        "a string, because as a float it would be another: {written}"
    );
    assert_eq!(stdout(&scene.run(&["get", "fruit/pear"]).await), "green");
    scene.split_at(&["fruit/b"]).await;
    assert_eq!(stdout(&scene.run(&["scan", "fruit/", "fruit0"]).await), "fruit/apple\tred\nfruit/pear\tgreen\n");
    let reverse = scene.run(&["scan", "fruit/", "fruit0", "--reverse", "--limit", "1", "--json"]).await;
    assert_eq!(json(&reverse)["key"], "fruit/pear");
    assert!(scene.run(&["delete", "fruit/apple"]).await.status.success());
    let gone = scene.run(&["get", "fruit/apple", "--json"]).await;
    assert_eq!(gone.status.code(), Some(1), "no such key is a no");
    assert_eq!(serde_json::from_slice::<Value>(&gone.stdout).unwrap()["value"], Value::Null);

    let status = json(&scene.run(&["status", "--ranges", "--json"]).await);
    assert_eq!(status["fleet"].as_str().map(str::len), Some(32));
    let stores = status["stores"].as_array().unwrap();
    assert!(stores.len() == 3 && stores.iter().all(|store| store["alive"] == true), "{stores:?}");
    assert_eq!(status["ranges"], status["ranges_led"]);
    for range in status["range_list"].as_array().unwrap() {
        let replicas = range["replicas"].as_array().unwrap();
        assert_eq!(replicas.len(), 3, "{range}");
        assert!(replicas.iter().all(|replica| replica["applied_index"].as_u64() > Some(0)), "{range}");
    }
    let table = stdout(&scene.run(&["status"]).await);
    assert!(["site-a", "site-b", "site-c"].iter().all(|site| table.contains(site)), "{table}");
}
