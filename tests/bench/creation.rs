//! The lab made on the stand-in, with 200 ms added to every AWS call: how far the whole is from its longest chain.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    figures::{Figure, Part},
    support::{
        cluster::Space,
        control_plane::ControlPlane,
        controller::Controller,
        repository,
        stand_in::{Call, StandIn},
    },
};

pub(crate) const PART: Part = Part("creation");
const DELAY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures one creation.
pub(crate) async fn measure() -> Vec<Figure> {
    let plane = ControlPlane::start("bench-creation").await;
    let stand_in = StandIn::start_with("bench-creation", &[]);
    // The stand-in loads much of itself with the first call of each kind: that is not measured.
    create(&plane, &stand_in).await;
    stand_in.reset();
    stand_in.forget_calls();
    stand_in.set(&json!({"delay_ms": DELAY.as_millis()}));
    let applied = create(&plane, &stand_in).await;

    let calls = stand_in.calls();
    let changes: Vec<&Call> = calls
        .iter()
        .filter(|call| call.change && call.began >= applied)
        .collect();
    let last = changes.iter().map(|call| call.ended).fold(applied, f64::max);
    let chain = longest_chain(&calls, applied);
    let took: f64 = chain.iter().map(|call| call.ended - call.began).sum();
    let names: Vec<&str> = chain.iter().map(|call| call.action.as_str()).collect();
    println!(
        "  the longest chain: {} ({took:.2} s of {:.2} s)",
        names.join(" > "),
        last - applied
    );
    vec![
        PART.lower(
            "creation of the lab, by its longest chain of calls",
            (last - applied) / took,
            "times",
            1.2,
        ),
        PART.lower(
            "creation of the lab, 200 ms added to each call",
            last - applied,
            "s",
            1.2 * took,
        ),
        PART.lower(
            "changing calls of the lab's creation",
            count(changes.len()),
            "calls",
            45.0,
        ),
    ]
}

/// Lets a controller make the lab; says when it was applied.
async fn create(plane: &ControlPlane, stand_in: &StandIn) -> f64 {
    let space = Space::create(plane).await;
    let _controller = Controller::start(plane, stand_in, &space.name).await;
    let lab = fs::read_to_string(repository().join("deploy/examples/lab.yaml")).expect("the lab");
    let applied = now();
    space.apply(&lab).await.expect("the lab is a good RayCluster");
    space.wait_for("lab", "Ready", "True", PATIENCE).await;
    applied
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

/// Seconds since 1970, as the stand-in tells them.
pub(crate) fn now() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(f64::NAN, |since| since.as_secs_f64())
}

/// The chain of calls, each of which needed the one before it, that took longest in all.
///
/// A call needs the call whose answer brought an id that it names. The first change of a kind needs a look at that
/// kind: nothing is made before it is known not to be there. Nothing else is counted, so that the chain is rather too
/// short.
fn longest_chain(calls: &[Call], applied: f64) -> Vec<&Call> {
    let mut sorted: Vec<&Call> = calls
        .iter()
        .filter(|call| call.error.is_none() && call.ended > applied)
        .collect();
    sorted.sort_by(|a, b| a.began.total_cmp(&b.began));
    let mut made_by: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chains: Vec<(f64, Option<usize>)> = Vec::new();
    for (index, call) in sorted.iter().enumerate() {
        let named = call.params.to_string();
        let is_before = |other: &usize| sorted[*other].ended <= call.began;
        let makers = made_by
            .iter()
            .filter(|(id, _)| named.contains(**id))
            .map(|(_, maker)| *maker);
        let looks = (0..index).filter(|other| call.change && looks_before(sorted[*other], call));
        let longest = makers
            .chain(looks)
            .filter(is_before)
            .max_by(|a, b| chains[*a].0.total_cmp(&chains[*b].0));
        let before = longest.map_or(0.0, |other: usize| chains[other].0);
        chains.push((before + call.ended - call.began, longest));
        if call.change {
            for id in &call.ids {
                made_by.entry(id).or_insert(index);
            }
        }
    }
    let changing = (0..sorted.len()).filter(|index| sorted[*index].change);
    let mut next = changing.max_by(|a, b| chains[*a].0.total_cmp(&chains[*b].0));
    let mut chain = Vec::new();
    while let Some(index) = next {
        chain.push(sorted[index]);
        next = chains[index].1;
    }
    chain.reverse();
    chain
}

/// Whether `look` is the look at what `change` makes.
fn looks_before(look: &Call, change: &Call) -> bool {
    let makes = change
        .action
        .strip_prefix("Create")
        .or(change.action.strip_prefix("Import"));
    let made = match change.action.as_str() {
        "RunInstances" => Some("Instance"),
        _ => makes,
    };
    let looked = look
        .action
        .strip_prefix("Describe")
        .or(look.action.strip_prefix("List"));
    matches!((looked, made), (Some(looked), Some(made)) if looked.strip_suffix('s') == Some(made))
}
