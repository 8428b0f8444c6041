//! How often Rayward looked at AWS: what does not happen is awaited by what does.

use serde_json::Value;

use super::stand_in::{Call, StandIn};
use super::wait::{PATIENCE, until};

/// The list that begins a sweep of each kind.
const LISTS: [&str; 11] = [
    "DescribeVpcs",
    "DescribeInternetGateways",
    "DescribeSubnets",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "DescribeNetworkInterfaces",
    "DescribeKeyPairs",
    "DescribeAddresses",
    "DescribeVolumes",
    "DescribeInstances",
    "ListBuckets",
];

/// What sweeps read beside the lists.
const DETAILS: [&str; 2] = ["DescribeVpcAttribute", "DescribeInstanceStatus"];

/// Whether a sweep makes this call.
pub(crate) fn is_of_sweep(call: &Call) -> bool {
    LISTS.contains(&call.action.as_str()) || DETAILS.contains(&call.action.as_str())
}

/// Whether this call is the first of a sweep; the others ask for more of the same kind in other ways.
fn begins_sweep(call: &Call) -> bool {
    let asks_by = |name: &str| {
        let filters = call.params["Filters"].as_array().into_iter().flatten();
        filters
            .filter_map(|filter| filter["Name"].as_str())
            .any(|found| found == name)
    };
    let is_unfiltered = matches!(
        call.action.as_str(),
        "DescribeKeyPairs" | "DescribeAddresses" | "ListBuckets"
    );
    is_unfiltered || asks_by("tag:rayward.dev/installation")
}

/// Waits until each kind was swept so many times more, by sweeps that began after now.
pub(crate) async fn sweeps(aws: &StandIn, times: usize) {
    let before = aws.calls();
    let seq = before.last().map_or(0, |call| call.seq);
    let now = before.iter().map(|call| call.ended).fold(0.0, f64::max);
    until(&format!("{times} sweeps"), PATIENCE, async || {
        let mut calls = aws.calls_since(seq);
        calls.retain(|call| call.began >= now && begins_sweep(call));
        let missing = LISTS.iter().find(|list| {
            let seen = calls
                .iter()
                .filter(|call| call.action == **list && call.error.is_none());
            // The call after the last one tells that the last sweep ended.
            seen.count() <= times
        });
        missing.map_or(Ok(()), |list| Err(format!("{list} lags behind")))
    })
    .await;
}

/// How many sweeps by `list` began after `since` and ended before `until` began.
pub(crate) fn sweeps_between(aws: &StandIn, list: &str, since: &Call, until: &Call) -> usize {
    let calls = aws.calls_since(since.seq);
    let between = calls
        .iter()
        .filter(|call| call.action == list && begins_sweep(call))
        .filter(|call| call.began >= since.ended && call.ended <= until.began);
    between.count()
}

/// The last call so far that did `action`; `is_it` tells it from others by its parameters.
pub(crate) fn last_call(aws: &StandIn, action: &str, is_it: impl Fn(&Value) -> bool) -> Option<Call> {
    let mut calls = aws.calls();
    calls.retain(|call| call.action == action && call.error.is_none() && is_it(&call.params));
    calls.pop()
}
