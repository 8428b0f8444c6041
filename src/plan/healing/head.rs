//! The ladders of a head whose machine runs and whose Ray is not known. A head is never replaced for that: its disk is
//! the user's.
//!
//! | What is seen | What is done |
//! |---|---|
//! | it boots, installs Ray or runs the set-up script | it is waited for, and told once it takes longer than its join
//! time |
//! | SSH works, and the dashboard, the GCS or Ray's unit is down | after a grace in which the machine's own supervision
//! acts: restart Ray, then reboot, then it is told |
//! | no SSH for `unknown_timeout`, and the fault is not likely to be ours | one reboot if `head.whenUnreachable` says
//! so, then it is told |
//! | slow, half, old or garbled answers | it is waited for: it may be at work |
//! | no way in, another host key or peer, a refused key or token | a person is told what to do; none of it is mended by
//! a reboot |
//!
//! The time of a ladder is that of its own fault: for so long, and at least [`LOOKS`] times in a row, every look met
//! the same. What was met before (an hour of slow answers, the installing) does not count, nor does a connection that
//! breaks while the machine tells of itself.
//!
//! The fault is likely to be ours while no other head answers either, or where there is no other; then only EC2's own
//! status check of the machine, where it fails too, tells that it is not. By itself that check reboots nothing: of a
//! head whose Ray is known it is told only, since one at work may miss it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::WhenUnreachable,
    plan::{
        Action, Planner, Reason, Subject,
        membership::{Member, Members, Ray},
    },
    ray::{
        facts::{Blindness, Others, Report, Stage},
        step::{MachineStep, RESTART_RAY},
        streak::{Fault, Streak},
    },
};

/// How many looks in a row must meet the same fault before anything is done about it.
const LOOKS: u32 = 3;

/// A head whose Ray is not known.
struct Trouble<'a> {
    id: &'a str,
    why: &'a Blindness,
    message: &'a str,
    since: Timestamp,
    streak: Streak,
    member: &'a Member<'a>,
}

/// What is done about it.
enum Verdict {
    Wait(Reason, String, Option<Duration>),
    RestartRay(String),
    Reboot(String),
}

/// Plans what is done about a head whose Ray is not known; nothing while it is, or while its machine does not run.
pub(crate) fn head(planner: &mut Planner<'_>, members: &Members<'_>) {
    let (
        Some(member),
        Ray::Unknown {
            why,
            message,
            since,
            streak,
        },
    ) = (&members.head, members.ray)
    else {
        return told_unwell(planner, members);
    };
    let has_address = planner.plan.interest.head.is_some();
    let trouble = Trouble {
        id: &member.machine.id,
        why: if has_address { why } else { &Blindness::NoWayIn },
        message: if has_address {
            message
        } else {
            "it has no address of the kind that network.controllerAccess names"
        },
        since,
        streak,
        member,
    };
    let verdict = trouble.verdict(planner);
    let is_booting = matches!(verdict, Verdict::Wait(Reason::Joining, ..));
    // When it is `Lost`, or not `Joining` any more: what the status says of it changes with time alone.
    for time in [
        planner.inputs.limits.ray.lost_after,
        planner.inputs.limits.ray.join_timeout,
    ] {
        let left = time.saturating_sub(planner.since(since));
        if !left.is_zero() {
            planner.check_in(left);
        }
    }
    match verdict {
        Verdict::Wait(reason, message, check) => {
            planner.wait(Subject::Head, reason, message);
            if let Some(check) = check {
                planner.check_in(check);
            }
        }
        Verdict::RestartRay(reason) => {
            let step = MachineStep::RestartRay {
                instance_id: trouble.id.to_owned(),
                reason,
            };
            planner.act(Subject::Head, Action::Machine(step));
        }
        Verdict::Reboot(reason) => planner.reboot(Subject::Head, &[trouble.id.to_owned()], &reason),
    }
    if planner.cluster().groups.iter().any(|group| group.replicas > 0) {
        let (reason, message) = if is_booting {
            (
                Reason::DependencyPending,
                "the workers wait for the head's Ray".to_owned(),
            )
        } else {
            let message = format!(
                "nothing is decided about workers while the Ray of their head {} is not known",
                trouble.id
            );
            (Reason::HeadUnknown, message)
        };
        planner.wait(Subject::Workers, reason, message);
    }
}

/// A head whose Ray answers is left alone, whatever else is wrong with it: a machine at work may miss a status check,
/// and its disk is the user's.
fn told_unwell(planner: &mut Planner<'_>, members: &Members<'_>) {
    let (Some(head), Ray::Known(_)) = (&members.head, members.ray) else {
        return;
    };
    let id = &head.machine.id;
    if head.machine.impaired {
        let message = format!("{id}: fails EC2's status checks, while its Ray answers: it is left alone");
        planner.wait(Subject::Head, Reason::Impaired, message);
    }
    if head.has_full_disk() {
        let message = format!("{id}: its disk is full, while its Ray answers: make room on it, signed in over SSH");
        planner.wait(Subject::Head, Reason::DiskFull, message);
    }
}

impl Trouble<'_> {
    fn verdict(&self, planner: &Planner<'_>) -> Verdict {
        match self.why {
            Blindness::NoWayIn
            | Blindness::HostKeyChanged { .. }
            | Blindness::KeyMissing
            | Blindness::ForwardingDenied
            | Blindness::WrongPeer => self.told(planner, None),
            _ => self.boot(planner).unwrap_or_else(|| self.ladder(planner)),
        }
    }

    /// While it boots and installs Ray, and where that failed.
    fn boot(&self, planner: &Planner<'_>) -> Option<Verdict> {
        let report = self.member.known_report();
        let time = planner.inputs.limits.ray.join_timeout;
        let began = self.member.step.map_or(self.since, |step| step.at.max(self.since));
        let lasted = planner.since(began);
        let words = || report.map_or_else(|| "booting".to_owned(), Report::words);
        let was_known = self.member.joined_time.is_some();
        if !was_known && report.is_some_and(Report::has_failed) {
            let message = format!(
                "{}: {}. It is tried again by itself; what the spec got wrong (rayVersion, pipPackages, setupScript, \
                 head.rayStartParams, environment, head.image) takes another head: correct it, then terminate {} to \
                 have it replaced",
                self.id,
                words(),
                self.id
            );
            return Some(Verdict::Wait(Reason::BootstrapFailed, message, None));
        }
        let is_on_its_way = match report.map(|report| report.stage) {
            // Its raylet runs a few seconds before its dashboard tells of it.
            Some(Stage::Running) if !was_known && lasted < time && self.is_coming_up() => {
                let faults = [Fault::Coming, Fault::Starting, Fault::Down, Fault::Other];
                let left = self.left(planner.inputs.limits.ray.lost_after, &faults)?;
                let message = format!("{}: Ray runs, and its dashboard comes up: {}", self.id, self.message);
                return Some(Verdict::Wait(Reason::Joining, message, Some(left)));
            }
            Some(Stage::Running | Stage::WaitingForHead | Stage::Failed) => false,
            // Neither a restart of Ray nor a reboot in the middle of it makes an installation faster.
            Some(Stage::Booting | Stage::Installing | Stage::SettingUp | Stage::WaitingForToken) if lasted >= time => {
                let message = format!(
                    "{}: {}, and takes longer than {} s by now, since {began}",
                    self.id,
                    words(),
                    time.as_secs()
                );
                return Some(Verdict::Wait(Reason::Joining, message, None));
            }
            Some(Stage::Starting) if self.streak.fault == Some(Fault::Starting) && self.streak.lasted < time => {
                let message = format!("{}: {}", self.id, words());
                let left = time.saturating_sub(self.streak.lasted);
                return Some(Verdict::Wait(Reason::Joining, message, Some(left)));
            }
            Some(_) => true,
            // Before it was ever seen nobody can tell a machine that boots from one that cannot be reached.
            None => !was_known && self.member.step.is_none(),
        };
        (is_on_its_way && lasted < time).then(|| {
            let message = format!("{}: {}", self.id, words());
            Verdict::Wait(Reason::Joining, message, Some(time.saturating_sub(lasted)))
        })
    }

    /// Whether what the look met is met at each start, and nothing was done about it yet.
    fn is_coming_up(&self) -> bool {
        use Blindness as B;
        let is_usual = matches!(
            self.why,
            B::DashboardDown | B::GcsDown | B::Incomplete | B::Slow | B::Stale
        );
        is_usual && self.member.step.is_none()
    }

    fn ladder(&self, planner: &Planner<'_>) -> Verdict {
        let report = self.member.known_report();
        let is_inactive = report.is_some_and(|report| !report.ray_active);
        match self.why {
            Blindness::DashboardDown | Blindness::GcsDown => self.revive(planner),
            Blindness::Slow | Blindness::Incomplete | Blindness::Stale | Blindness::Garbled if is_inactive => {
                self.revive(planner)
            }
            Blindness::Unreachable => self.reach(planner),
            _ => self.told(planner, None),
        }
    }

    /// For how much longer every look has to meet one of these faults before something is done after `grace`; `None`:
    /// it is time.
    fn left(&self, grace: Duration, faults: &[Fault]) -> Option<Duration> {
        let streak = if self.streak.fault.is_some_and(|fault| faults.contains(&fault)) {
            self.streak
        } else {
            Streak::default()
        };
        let left = grace.saturating_sub(streak.lasted);
        // The streak grows with looks only: what is left then may be no time at all.
        (!left.is_zero() || streak.looks < LOOKS).then(|| left.max(Duration::from_secs(1)))
    }

    /// When the first of the looks was that met the same.
    fn began(&self, planner: &Planner<'_>) -> Timestamp {
        let lasted = SignedDuration::try_from(self.streak.lasted).unwrap_or(SignedDuration::MAX);
        let began = planner.inputs.now.saturating_sub(lasted).unwrap_or(self.since);
        Timestamp::from_second(began.as_second()).unwrap_or(began)
    }

    /// SSH works, and its Ray does not.
    fn revive(&self, planner: &Planner<'_>) -> Verdict {
        let limits = &planner.inputs.limits.ray;
        let is_reached = self.member.known_report().is_some();
        let grace = if is_reached {
            limits.lost_after
        } else {
            limits.heal_window
        };
        let left = self.left(grace, &[Fault::Down, Fault::Starting]);
        let Some(step) = self.member.step else {
            if left.is_some() {
                return self.told(planner, left);
            }
            let reason = format!(
                "its Ray is down ({}) since {}: {}",
                self.why.name(),
                self.began(planner),
                self.message
            );
            return if is_reached {
                Verdict::RestartRay(reason)
            } else {
                Verdict::Reboot(reason)
            };
        };
        let window = limits.heal_window.saturating_sub(planner.since(step.at));
        let left = left.unwrap_or_default().max(window);
        match step.step.as_str() {
            _ if !left.is_zero() => self.healing(planner, &step.step, step.at, left),
            RESTART_RAY => Verdict::Reboot(format!(
                "a restart of its Ray did not help: {}: {}",
                self.why.name(),
                self.message
            )),
            _ => self.unhealed(&format!(
                "{} at {} did not help: its Ray is still down",
                step.step, step.at
            )),
        }
    }

    /// No connection reaches it.
    fn reach(&self, planner: &Planner<'_>) -> Verdict {
        let (limits, observed) = (&planner.inputs.limits.ray, planner.observed());
        let rebooted = self.member.step.filter(|step| step.step != RESTART_RAY);
        if let Some(step) = rebooted {
            let left = limits.unknown_timeout.saturating_sub(planner.since(step.at));
            return if left.is_zero() {
                self.unhealed(&format!(
                    "{} at {} did not help: it cannot be reached",
                    step.step, step.at
                ))
            } else {
                self.healing(planner, &step.step, step.at, left)
            };
        }
        if let Some(left) = self.left(limits.unknown_timeout, &[Fault::Silent]) {
            return self.told(planner, Some(left));
        }
        if planner.cluster().head.when_unreachable == WhenUnreachable::Keep {
            return self.unhealed("it cannot be reached, and head.whenUnreachable is Keep");
        }
        let is_fresh = observed.machine_sweep_age <= planner.inputs.limits.consistency_window;
        let is_proven = self.member.machine.impaired && is_fresh;
        if !is_proven && observed.ray.others != Others::Answering {
            // When others answer again, that is no news of this cluster.
            return self.told(planner, Some(limits.look_interval));
        }
        Verdict::Reboot(format!(
            "it cannot be reached since {}: {}",
            self.began(planner),
            self.message
        ))
    }

    fn healing(&self, planner: &Planner<'_>, step: &str, at: Timestamp, left: Duration) -> Verdict {
        let message = format!("{}, after {step} at {at}", self.words(planner));
        Verdict::Wait(Reason::Healing, message, Some(left))
    }

    /// Nothing more is done about it.
    fn unhealed(&self, what: &str) -> Verdict {
        let message = format!(
            "{}: {what}, since {}: {}{}. It is not replaced, because its disk is yours: look at it, or terminate it \
             to have a new head at the same address",
            self.id,
            self.since,
            self.message,
            self.failure()
        );
        Verdict::Wait(Reason::HeadUnhealed, message, None)
    }

    fn told(&self, planner: &Planner<'_>, check: Option<Duration>) -> Verdict {
        Verdict::Wait(self.why.into(), self.words(planner), check)
    }

    /// Since when, why, and what a person can do.
    fn words(&self, planner: &Planner<'_>) -> String {
        let known = format!("the Ray of {} is not known since {}", self.id, self.since);
        format!("{known}: {}{}{}", self.message, self.failure(), self.advice(planner))
    }

    /// What failed on the machine itself, if it says so.
    fn failure(&self) -> String {
        let report = self.member.known_report();
        let failed = report.filter(|report| report.has_failed() || report.disk_full);
        failed.map_or_else(String::new, |failed| format!("; {}", failed.words()))
    }

    fn advice(&self, planner: &Planner<'_>) -> String {
        let name = &planner.cluster().id.name;
        match self.why {
            Blindness::NoWayIn => ". The controller needs port 22 of the head: let network.adminCidrs or the flag \
                                   --egress-cidrs name the address that it comes from, and network.controllerAccess \
                                   the address of the head that it can reach"
                .into(),
            Blindness::Unreachable => {
                let what_follows = match planner.cluster().head.when_unreachable {
                    WhenUnreachable::Reboot => {
                        "It is rebooted once other heads answer meanwhile, or EC2's status checks of it fail too"
                    }
                    WhenUnreachable::Keep => "It is not rebooted, since head.whenUnreachable is Keep",
                };
                format!(
                    ". If the controller comes from an address that neither network.adminCidrs nor the flag \
                     --egress-cidrs names, it is not let in. {what_follows}"
                )
            }
            Blindness::HostKeyChanged { shown } => format!(
                ". Somebody may stand in between. If the key {shown} is right, say so: kubectl annotate --overwrite \
                 raycluster {name} rayward.dev/accept-host-key={shown}"
            ),
            Blindness::KeyMissing => format!(". Restore the Secret {name}-ssh: the machines know no other key"),
            Blindness::AccessDenied => format!(
                ". The machine does not know the key of the Secret {name}-ssh: restore that key, or terminate {} to \
                 have a new head",
                self.id
            ),
            Blindness::ForwardingDenied => format!(
                ". Let the SSH server of {} forward TCP for the user rayward: AllowTcpForwarding, DisableForwarding, \
                 PermitOpen in /etc/ssh/sshd_config or what it includes",
                self.id
            ),
            Blindness::TokenRefused => format!(
                ". Its Ray runs with another token than ray-token of the Secret {name}-ssh. What the Secret holds is \
                 given to each machine that has another, and its Ray restarts; if it is refused after that too, \
                 restart rayward-ray.service on {}",
                self.id
            ),
            Blindness::WrongPeer => {
                ". Another machine answers at its address: see to it that network.controllerAccess \
                                     names an address that leads to this cluster"
                    .into()
            }
            Blindness::NotLooked
            | Blindness::DashboardDown
            | Blindness::GcsDown
            | Blindness::Slow
            | Blindness::Incomplete
            | Blindness::Stale
            | Blindness::Garbled => String::new(),
        }
    }
}
