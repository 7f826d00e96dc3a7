//! Machines that are emptied and machines that die.

use holdfast_stage::{Pod, Stage};

use crate::loads::Loads;

/// The node of a pod.
fn node_of(stage: &Stage, pod: &Pod) -> Option<String> {
    Some(stage.seen(pod)?["spec"]["nodeName"].as_str()?.to_owned())
}

pub fn moves(stage: &mut Stage) {
    let pod = stage.pod("north", 0);
    let from = node_of(stage, &pod).unwrap();
    stage.kubectl("north", &["cordon", &from]).unwrap();
    stage.kubectl("north", &["delete", "pod", &pod.name]).unwrap();
    stage.ready(&pod).unwrap();
    let to = node_of(stage, &pod).unwrap();
    stage.kubectl("north", &["uncordon", &from]).unwrap();
    assert_ne!(from, to);
    // It is the same store: its volume came along.
    assert_eq!(stage.settled("east", 3).unwrap().stores.len(), 3);
}

pub fn lost(stage: &mut Stage) {
    // The other node has the control plane, without which nobody would see a node die.
    let pod = stage.pod("west", 0);
    let on = node_of(stage, &pod).unwrap();
    if on == "west-0" {
        stage.kubectl("west", &["cordon", &on]).unwrap();
        stage.kubectl("west", &["delete", "pod", &pod.name]).unwrap();
        stage.ready(&pod).unwrap();
        stage.kubectl("west", &["uncordon", &on]).unwrap();
        stage.settled("east", 3).unwrap();
    }
    assert_eq!(node_of(stage, &pod).unwrap(), "west-1");
    let loads = Loads::start(stage, "node", 20, &["east", "north"]);
    stage.clusters.kill_node("west", 1).unwrap();
    loads.end_clean(stage);
    stage.clusters.bring_back_node("west", 1).unwrap();
    stage.ready(&pod).unwrap();
    assert_eq!(stage.settled("east", 3).unwrap().stores.len(), 3);
}
