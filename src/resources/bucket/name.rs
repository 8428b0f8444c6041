//! Names of buckets: the user's own, or one that every pass and every process makes alike.

use sha2::{Digest, Sha256};

use crate::validate::{Bucket as Wanted, ClusterId, ValidCluster};

/// Letters of the hash: base32 as in RFC 4648, in small letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Length of the hash: 50 bits.
const HASH_LENGTH: usize = 10;
/// Most of a name that shows namespace and cluster.
const CLUSTER_LENGTH: usize = 25;
/// Most of a name that shows the purpose: with the rest, S3's limit of 63.
const PURPOSE_LENGTH: usize = 18;
/// What every name that Rayward makes begins with.
pub const PREFIX: &str = "rayward-";

/// The name of a bucket: the one that the user gave, or `rayward-<namespace>-<cluster>-<purpose>-<hash>`. The readable
/// parts may be shortened; the hash covers the whole of them, the installation, the account and the region.
#[must_use]
pub fn bucket_name(id: &ClusterId, region: &str, account: &str, bucket: &Wanted) -> String {
    bucket
        .name
        .clone()
        .unwrap_or_else(|| derived_name(id, region, account, &bucket.purpose))
}

/// What the names that Rayward makes for a cluster begin with; those of another cluster may do so too.
#[must_use]
pub fn name_prefix(id: &ClusterId) -> String {
    format!(
        "{PREFIX}{}-",
        readable(&format!("{}-{}", id.namespace, id.name), CLUSTER_LENGTH)
    )
}

/// Whether a name that begins as those of a cluster may be one that Rayward makes for it. The hash in it tells, where
/// the purpose stands there in full.
pub(super) fn may_be_derived(id: &ClusterId, region: &str, account: &str, name: &str) -> bool {
    let parts = name
        .strip_prefix(&name_prefix(id))
        .and_then(|rest| rest.rsplit_once('-'));
    parts.is_some_and(|(purpose, _)| {
        // Cut at this length, and a dash at its end away.
        let may_be_cut = purpose.len() + 1 >= PURPOSE_LENGTH;
        may_be_cut || derived_name(id, region, account, purpose) == name
    })
}

/// The names of the buckets that a cluster asks for, with what it says of each.
pub fn names<'a>(cluster: &'a ValidCluster, account: &'a str) -> impl Iterator<Item = (String, &'a Wanted)> {
    let name = move |bucket| bucket_name(&cluster.id, &cluster.region, account, bucket);
    cluster.buckets.iter().map(move |bucket| (name(bucket), bucket))
}

fn derived_name(id: &ClusterId, region: &str, account: &str, purpose: &str) -> String {
    let hash = hash(&[&id.installation, account, region, &id.namespace, &id.name, purpose]);
    format!("{}{}-{hash}", name_prefix(id), readable(purpose, PURPOSE_LENGTH))
}

fn hash(parts: &[&str]) -> String {
    let bits = bits(parts);
    let letter = |index: usize| {
        let five = bits >> (64 - 5 * (index + 1)) & 31;
        char::from(ALPHABET[usize::try_from(five).unwrap_or_default()])
    };
    (0..HASH_LENGTH).map(letter).collect()
}

/// 64 bits of a hash over `parts`, which are told apart by their lengths: no two lists of parts are hashed alike.
pub(super) fn bits(parts: &[&str]) -> u64 {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part.len().to_be_bytes());
        sha.update(part);
    }
    sha.finalize()
        .iter()
        .take(8)
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// As much of a text as a name may show, in the letters that S3 takes.
fn readable(text: &str, length: usize) -> String {
    let legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let letters: String = text
        .chars()
        .map(|letter| if legal(letter) { letter } else { '-' })
        .take(length)
        .collect();
    match letters.trim_matches('-') {
        "" => "x".into(),
        trimmed => trimmed.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(installation: &str, namespace: &str, name: &str) -> ClusterId {
        ClusterId {
            installation: installation.into(),
            uid: "uid".into(),
            namespace: namespace.into(),
            namespace_uid: "ns-uid".into(),
            name: name.into(),
        }
    }

    fn name(id: &ClusterId, purpose: &str) -> String {
        derived_name(id, "ap-southeast-1", "123456789012", purpose)
    }

    #[test]
    fn a_name_shows_what_it_is_for_and_never_changes() {
        // A change of this name would leave the data of every cluster behind.
        assert_eq!(name(&id("inst", "ml", "lab"), "raw"), "rayward-ml-lab-raw-scnr2mi253");
    }

    #[test]
    fn each_part_of_what_a_bucket_is_makes_another_name() {
        let long = "a-name-that-is-far-too-long-to-be-shown-as-a-whole";
        let names: BTreeSet<String> = [
            name(&id("inst", "ml", "lab"), "raw"),
            name(&id("inst-2", "ml", "lab"), "raw"),
            name(&id("inst", "ml-lab", "raw"), "raw"),
            name(&id("inst", "ml", "lab-raw"), "raw"),
            name(&id("inst", "ml", "lab"), "raw-raw"),
            name(&id("inst", "ml", &format!("{long}-1")), "raw"),
            name(&id("inst", "ml", &format!("{long}-2")), "raw"),
            name(&id("inst", "ml", "lab"), &format!("{long}-1")),
            name(&id("inst", "ml", "lab"), &format!("{long}-2")),
            derived_name(&id("inst", "ml", "lab"), "eu-west-1", "123456789012", "raw"),
            derived_name(&id("inst", "ml", "lab"), "ap-southeast-1", "210987654321", "raw"),
        ]
        .into();
        assert_eq!(names.len(), 11, "{names:#?}");
    }

    #[test]
    fn a_name_tells_whether_rayward_made_it_for_a_cluster() {
        let (region, account) = ("ap-southeast-1", "123456789012");
        let lab = id("inst", "ml", "lab");
        let may_be = |name: &str| may_be_derived(&lab, region, account, name);
        for purpose in ["raw", "raw-data", "a-purpose-of-24-letters-"] {
            assert!(may_be(&name(&lab, purpose)), "{purpose}");
        }
        for others in [
            name(&id("inst", "ml", "lab-b"), "raw"),
            name(&id("inst", "ml-lab", "raw"), "raw"),
            name(&id("another", "ml", "lab"), "raw"),
            derived_name(&lab, "eu-west-1", account, "raw"),
            derived_name(&lab, region, "210987654321", "raw"),
            "rayward-ml-lab-raw".into(),
            "rayward-ml-lab-".into(),
            "data".into(),
        ] {
            assert!(!may_be(&others), "{others}");
        }
    }

    #[test]
    fn the_users_own_name_is_taken_as_it_is() {
        let wanted = Wanted {
            purpose: "raw".into(),
            name: Some("my.data".into()),
        };
        assert_eq!(bucket_name(&id("inst", "ml", "lab"), "r", "a", &wanted), "my.data");
    }

    proptest! {
        #[test]
        fn every_name_is_legal_and_begins_as_its_cluster_does(
            installation in ".{0,40}", namespace in "[a-z0-9.-]{1,63}",
            cluster in "[a-zA-Z0-9.-]{1,80}", purpose in ".{0,40}",
        ) {
            let id = id(&installation, &namespace, &cluster);
            let name = name(&id, &purpose);
            let legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            prop_assert!((3..=63).contains(&name.len()), "{name}");
            prop_assert!(name.chars().all(legal) && !name.ends_with('-'), "{name}");
            prop_assert!(name.starts_with(&name_prefix(&id)), "{name}");
            // S3 keeps these for itself.
            let kept = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
            prop_assert!(!kept.iter().any(|end| name.ends_with(end)), "{name}");
        }

        #[test]
        fn different_buckets_have_different_names(
            a in ("[a-z-]{1,6}", "[a-z-]{1,40}", "[a-z-]{1,40}"), b in ("[a-z-]{1,6}", "[a-z-]{1,40}", "[a-z-]{1,40}"),
        ) {
            let name_of = |of: &(String, String, String)| name(&id("i", &of.0, &of.1), &of.2);
            prop_assert_eq!(a == b, name_of(&a) == name_of(&b));
        }
    }
}
