//! The plan of a cluster that is to go: in the order that AWS needs, until nothing is left.

use super::Planner;
use crate::resources::vpc;

pub(super) fn plan(planner: &mut Planner<'_>) {
    vpc::plan_deletion(planner);
}
