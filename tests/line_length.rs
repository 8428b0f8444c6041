//! Lines end where rustfmt would end them, also where it cannot break them: in comments, texts and macros.

use std::fs;
use std::path::Path;

use crate::support::repository;

/// How many characters a line may have: `max_width` in rustfmt.toml.
const LONGEST: usize = 120;

/// What people write; other files are made by tools, or are bytecode.
fn is_written_by_hand(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    matches!(ending, None | Some("rs" | "py" | "sh" | "toml" | "yaml" | "md"))
}

/// The numbers of the lines that are too long. A row of a table in Markdown cannot be broken.
fn too_long(file: &Path, text: &str) -> Vec<usize> {
    let has_tables = file.extension().is_some_and(|ending| ending == "md");
    let is_too_long = |line: &str| line.chars().count() > LONGEST && !(has_tables && line.starts_with('|'));
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| is_too_long(line));
    numbered.map(|(number, _)| number).collect()
}

/// Adds `path:line` of each line below `folder` that is too long.
fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            // What tools keep for themselves is hidden: .mypy_cache, .ruff_cache.
            if !name.starts_with('.') {
                collect(&path, found);
            }
        } else if is_written_by_hand(&path) {
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            let lines = too_long(&path, &text).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}", path.display())));
        }
    }
}

#[test]
fn no_line_is_longer_than_rustfmt_lets_it_be() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "deploy"] {
        collect(&repository().join(folder), &mut found);
    }
    assert!(
        found.is_empty(),
        "longer than {LONGEST} characters:\n{}",
        found.join("\n")
    );
}

#[test]
fn characters_are_counted_and_tables_are_let_through() {
    let (fits, long) = ("ü".repeat(LONGEST), "x".repeat(LONGEST + 1));
    let text = format!("{fits}\n{long}\n|{long}\n");
    assert_eq!(too_long(Path::new("a.rs"), &text), [2, 3]);
    assert_eq!(too_long(Path::new("a.md"), &text), [2]);
    let by_hand = |file: &str| is_written_by_hand(Path::new(file));
    assert!(by_hand("inside") && by_hand("build.sh") && !by_hand("go.sum") && !by_hand("requirements.lock"));
}
