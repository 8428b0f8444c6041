//! Why something could not be seen or done.

use std::fmt;

use super::facts::Blindness;

/// Why something could not be seen or done; never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of reason.
    pub why: Blindness,
    /// What was tried, on what, and what came of it.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(why: Blindness, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { why, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a machine or a person wrote, made fit for a message: one line of at most `letters` letters.
#[must_use]
pub fn excerpt(text: &str, letters: usize) -> String {
    let mut line: String = text
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(letters + 1)
        .collect();
    if let Some((cut, _)) = line.char_indices().nth(letters) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line_of_bounded_length() {
        assert_eq!(excerpt(" a\nb\u{1b}[31m ", 10), "a b [31m");
        assert_eq!(excerpt("äöü", 3), "äöü");
        assert_eq!(excerpt("äöüß", 3), "äöü…");
    }
}
