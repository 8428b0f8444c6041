//! What the last looks at a head have in common. How long its Ray has been unknown tells nothing of why: one closed
//! connection after an hour of slow answers is one closed connection, and no hour of it.

use std::time::Duration;

use super::facts::{Blindness, Report, Stage};

/// What a look met, by what could be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its Ray is being installed or set up, or waits for what it needs.
    Coming,
    /// Its Ray starts, and was not seen to be down before.
    Starting,
    /// The machine is reached, and its Ray is down.
    Down,
    /// No connection reaches the machine.
    Silent,
    /// Anything else: it may be at work.
    Other,
}

/// For how long, and how often in a row, every look met the same fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// Which; `None`: the last look met none, or nobody has looked.
    pub fault: Option<Fault>,
    /// From the first of these looks to the last.
    pub lasted: Duration,
    /// How many there were.
    pub looks: u32,
}

impl Fault {
    /// What a look met that failed with `why`, while the machine told `report` of itself.
    #[must_use]
    pub fn of(why: &Blindness, report: Option<&Report>) -> Self {
        let is_inactive = report.is_some_and(|report| !report.ray_active);
        match (why, report.map(|report| report.stage)) {
            (Blindness::Unreachable, None) => Self::Silent,
            (
                Blindness::DashboardDown | Blindness::GcsDown,
                Some(Stage::Booting | Stage::Installing | Stage::SettingUp | Stage::WaitingForToken),
            ) => Self::Coming,
            (Blindness::DashboardDown | Blindness::GcsDown, Some(Stage::Starting)) => Self::Starting,
            (Blindness::DashboardDown | Blindness::GcsDown, _) => Self::Down,
            (Blindness::Slow | Blindness::Incomplete | Blindness::Stale | Blindness::Garbled, _) if is_inactive => {
                Self::Down
            }
            _ => Self::Other,
        }
    }
}

impl Streak {
    /// After one more look, so long after the one before.
    #[must_use]
    pub fn next(self, fault: Option<Fault>, passed: Duration) -> Self {
        let fault = match (self.fault, fault) {
            // What was down and starts again and again is down until it is seen to run.
            (Some(Fault::Down), Some(Fault::Starting)) => Some(Fault::Down),
            (_, fault) => fault,
        };
        let goes_on = fault.is_some() && fault == self.fault;
        Self {
            fault,
            lasted: if goes_on { self.lasted + passed } else { Duration::ZERO },
            looks: if goes_on {
                self.looks.saturating_add(1)
            } else {
                u32::from(fault.is_some())
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(15);

    fn told(stage: Stage, ray_active: bool) -> Report {
        Report {
            stage,
            ray_active,
            ..Report::default()
        }
    }

    #[test]
    fn what_a_look_met_is_told_by_its_reason_and_by_the_machine() {
        use Blindness as B;
        let (running, stopped) = (told(Stage::Running, true), told(Stage::Failed, false));
        for (why, report, fault) in [
            (B::DashboardDown, Some(&running), Fault::Down),
            (B::GcsDown, Some(&stopped), Fault::Down),
            (B::GcsDown, None, Fault::Down),
            (B::DashboardDown, Some(&told(Stage::SettingUp, false)), Fault::Coming),
            (B::DashboardDown, Some(&told(Stage::Booting, false)), Fault::Coming),
            (B::DashboardDown, Some(&told(Stage::Starting, true)), Fault::Starting),
            (B::Slow, Some(&running), Fault::Other),
            (B::Slow, Some(&stopped), Fault::Down),
            (B::Slow, None, Fault::Other),
            (B::Unreachable, None, Fault::Silent),
            (B::Unreachable, Some(&running), Fault::Other),
            (B::TokenRefused, Some(&stopped), Fault::Other),
            (B::WrongPeer, None, Fault::Other),
        ] {
            assert_eq!(Fault::of(&why, report), fault, "{why:?} {report:?}");
        }
    }

    #[test]
    fn a_streak_is_of_one_fault_without_a_gap() {
        let after = |faults: &[Option<Fault>]| {
            faults
                .iter()
                .fold(Streak::default(), |all, fault| all.next(*fault, STEP))
        };
        let (down, starting, other) = (Some(Fault::Down), Some(Fault::Starting), Some(Fault::Other));
        let told = |faults: &[Option<Fault>]| {
            let streak = after(faults);
            (streak.fault, streak.lasted.as_secs(), streak.looks)
        };
        assert_eq!(told(&[down]), (down, 0, 1));
        assert_eq!(told(&[other, other, other, down]), (down, 0, 1));
        assert_eq!(told(&[down, down, down]), (down, 30, 3));
        assert_eq!(told(&[down, None, down]), (down, 0, 1));
        assert_eq!(told(&[down, None]), (None, 0, 0));
        assert_eq!(told(&[down, starting, down]), (down, 30, 3), "it falls again and again");
        assert_eq!(told(&[starting, starting, down]), (down, 0, 1), "its first start");
    }
}
