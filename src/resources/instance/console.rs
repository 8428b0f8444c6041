//! What a machine wrote on its console: what is left to read of one that no connection reaches.
//!
//! EC2 keeps the last 64 KB. It shows what stands there now for types of the Nitro System only, and of others what
//! stood there a few minutes after the last boot:
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::{
    aws::{AwsCall, AwsError, Clients},
    ray::failure::excerpt,
    resources::Answer,
};

/// How many of its last lines are kept, and how long they may be: as many as a machine tells over SSH.
const LINES: usize = 20;
const LETTERS: usize = 200;
/// How many of them stand in a condition and in an Event beside other things.
const TOLD: usize = 5;

/// Families from before the Nitro System, of which no new ones come:
/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html>.
const XEN: &str = "c1 c3 c4 cc2 cr1 d2 f1 g2 g3 g3s h1 hs1 i2 i3 m1 m2 m3 m4 p2 p3 r3 r4 t1 t2 x1 x1e";

/// Whether EC2 shows at once what a machine of this type writes. Bare metal has no hypervisor that would.
#[must_use]
pub fn has_latest(instance_type: &str) -> bool {
    let (family, size) = instance_type.split_once('.').unwrap_or((instance_type, ""));
    !size.starts_with("metal") && XEN.split(' ').all(|xen| xen != family)
}

/// Reads it.
pub(super) async fn read(clients: &Clients, id: &str, latest: bool) -> Result<Answer, AwsError> {
    let request = clients.ec2.get_console_output().instance_id(id).latest(latest).send();
    let answer = clients.gate.send(AwsCall::GetConsoleOutput, id, request).await?;
    Ok(Answer::Console(last_lines(&answer.output.unwrap_or_default())))
}

/// The last lines of an output as EC2 sends it. What is no base64 tells nothing.
fn last_lines(output: &str) -> Vec<String> {
    let output: Vec<u8> = output.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let said = BASE64_STANDARD.decode(output).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<String> = said
        .lines()
        .map(|line| excerpt(&without_escapes(line), LETTERS))
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

/// A line without the sequences that colour it or move the cursor.
fn without_escapes(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic());
        end.map_or("", |end| &part[end + 1..])
    });
    std::iter::once(first).chain(rest).collect()
}

/// What it says, for people.
#[must_use]
pub fn words(lines: &[String]) -> String {
    match &lines[lines.len().saturating_sub(TOLD)..] {
        [] => "its console shows nothing".into(),
        last => format!("its console ends with: {}", last.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_the_nitro_system_show_theirs_at_once() {
        for nitro in ["m5.large", "t3.medium", "p3dn.24xlarge", "i3en.large", "m99x.large"] {
            assert!(has_latest(nitro), "{nitro}");
        }
        for other in [
            "t2.medium",
            "m4.large",
            "p3.2xlarge",
            "i3.metal",
            "m7i.metal-24xl",
            "mac2.metal",
        ] {
            assert!(!has_latest(other), "{other}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_without_colours_and_cut() {
        let line = |number| format!("\u{1b}[0;32m{number}\u{1b}[0m {}\r\n\r\n", "x".repeat(300));
        let said: Vec<String> = (0..30).map(line).collect();
        let mut output = BASE64_STANDARD.encode(said.concat());
        output.insert(76, '\n');
        let lines = last_lines(&output);
        assert_eq!(lines.len(), LINES);
        assert!(lines[0].starts_with("10 xxx"), "{}", lines[0]);
        assert!(lines.iter().all(|line| line.chars().count() == LETTERS + 1));
        assert_eq!(words(&lines).matches(" | ").count(), TOLD - 1);
    }

    #[test]
    fn what_says_nothing_is_told_so() {
        for output in ["", "\n", "no base64!", &BASE64_STANDARD.encode("\n \n")] {
            assert_eq!(last_lines(output), Vec::<String>::new(), "{output:?}");
        }
        assert_eq!(last_lines(&BASE64_STANDARD.encode(b"a\xffb")), ["a\u{fffd}b"]);
        assert_eq!(words(&[]), "its console shows nothing");
        assert_eq!(words(&["login:".into()]), "its console ends with: login:");
    }
}
