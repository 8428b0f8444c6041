//! What is generated from the code is what the code now generates, and the reference pages say what the code says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{Arg, CommandFactory};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rayward::config::Cli;
use rayward::controller::key;

use crate::support::repository;

#[test]
fn the_crd_is_the_one_that_the_types_make() {
    let path = repository().join("crds/rayclusters.rayward.dev.yaml");
    let kept = fs::read_to_string(&path).expect("the CRD is there");
    let printed = Command::new(env!("CARGO_BIN_EXE_rayward")).arg("crd").output();
    let printed = printed.expect("the program starts").stdout;
    let made = String::from_utf8(printed).expect("it prints UTF-8");
    assert!(
        kept == made,
        "the CRD has drifted: cargo run -- crd > crds/rayclusters.rayward.dev.yaml"
    );
}

fn page(name: &str) -> String {
    let path = repository().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table below a heading, without the backticks around names.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let start = page.find(&format!("\n## {heading}\n")).expect(heading);
    let lines = page[start + 1..].lines().skip(1);
    let rows = lines
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2);
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let without_ends = |row: Vec<String>| row[1..row.len() - 1].to_vec();
    rows.map(|row| without_ends(cells(row))).collect()
}

/// A row of the table of settings.
fn setting(argument: &Arg) -> String {
    let flag = argument.get_long().expect("a flag");
    let value = argument.get_value_names().expect("a value")[0].as_str();
    let variable = argument.get_env().expect("an environment variable").to_string_lossy();
    let defaults = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy());
    let defaults: Vec<String> = defaults.map(|value| format!("`{value}`")).collect();
    let mut help = argument.get_help().expect("a help").to_string();
    let choices = argument.get_possible_values();
    let choices: Vec<String> = choices
        .iter()
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if !choices.is_empty() {
        help = format!("{help}: {}", choices.join(" or "));
    }
    if !help.ends_with([']', '.']) {
        help.push('.');
    }
    format!(
        "| `--{flag} {value}` | `{variable}` | {} | {help} |",
        defaults.join(" ")
    )
}

#[test]
fn the_page_of_settings_lists_every_flag_with_variable_default_and_meaning() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("the subcommand");
    let is_a_setting = |argument: &&Arg| !matches!(argument.get_id().as_str(), "help" | "version");
    let rows: Vec<String> = run.get_arguments().filter(is_a_setting).map(setting).collect();
    let table = format!(
        "| Flag | Environment variable | Default | Meaning |\n|---|---|---|---|\n{}\n",
        rows.join("\n")
    );
    let page = page("reference-settings.md");
    let found = page.find("| Flag |").map_or("", |start| &page[start..]);
    assert!(
        found == table,
        "docs/reference-settings.md says something else than the flags; its table has to be:\n{table}"
    );
}

/// The names of ours that the code uses on objects and tags: what constants hold.
fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names_in(&path, names);
        } else {
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            let constants = text.lines().filter(|line| line.starts_with("pub const "));
            let values = constants.filter_map(|line| line.split_once("= \"rayward.dev/")?.1.strip_suffix("\";"));
            // The prefix of all of them is none.
            names.extend(
                values
                    .filter(|value| !value.is_empty())
                    .map(|value| format!("rayward.dev/{value}")),
            );
        }
    }
}

#[test]
fn the_page_of_objects_lists_every_annotation_finalizer_and_tag() {
    let page = page("reference-objects.md");
    let sections = [
        "Annotations of a RayCluster",
        "Finalizers of a RayCluster",
        "Tags on AWS",
    ];
    let listed = sections.iter().flat_map(|section| table(&page, section));
    let mut listed: BTreeSet<String> = listed.map(|row| row[0].clone()).collect();
    assert!(listed.remove(rayward::tags::NAME), "the one tag that is not ours alone");
    let mut used = BTreeSet::new();
    names_in(&repository().join("src"), &mut used);
    assert!(used.len() > 10, "{used:?}");
    assert_eq!(listed, used);
}

#[test]
fn the_page_of_objects_describes_the_secret_that_is_made() {
    let owner = OwnerReference {
        name: "lab".into(),
        uid: "u-1".into(),
        ..OwnerReference::default()
    };
    let secret = key::make("ml", owner).expect("a Secret");
    let part = |part: &str, name: String| (part.to_owned(), name);
    let labels = secret.metadata.labels.into_iter().flatten();
    let keys = secret.data.into_iter().flatten();
    let kinds = secret.type_.into_iter();
    let made: Vec<_> = kinds
        .map(|kind| part("type", kind))
        .chain(labels.map(|(label, _)| part("label", label)))
        .chain(keys.map(|(key, _)| part("key", key)))
        .collect();
    let page = page("reference-objects.md");
    let listed = table(&page, "The Secret with the key");
    let listed: Vec<_> = listed.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(listed, made);
    assert_eq!(secret.metadata.name.as_deref(), Some("lab-ssh"));
    assert!(page.contains("`<name of the cluster>-ssh`"));
}
