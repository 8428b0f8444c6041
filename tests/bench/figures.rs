//! The measured figures, as one table and as JSON.

use std::{fs, path::Path};

use serde::Serialize;

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// Something that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) goal: f64,
    pub(crate) better: Better,
    /// What measures it again.
    pub(crate) command: String,
}

impl Figure {
    /// How far the figure is from its goal: 1 and below is reached where lower is better, 1 and above where higher is.
    /// Nothing to divide by: no ratio.
    fn ratio(&self) -> Option<f64> {
        (self.goal != 0.0).then(|| self.value / self.goal)
    }

    fn is_reached(&self) -> bool {
        match self.better {
            Better::Lower => self.value <= self.goal,
            Better::Higher => self.value >= self.goal,
        }
    }
}

/// All that was measured by one part, whose name is the argument that measures it alone.
pub(crate) struct Part(pub(crate) &'static str);

impl Part {
    pub(crate) fn lower(&self, name: &'static str, value: f64, unit: &'static str, goal: f64) -> Figure {
        self.figure(name, value, unit, goal, Better::Lower)
    }

    pub(crate) fn higher(&self, name: &'static str, value: f64, unit: &'static str, goal: f64) -> Figure {
        self.figure(name, value, unit, goal, Better::Higher)
    }

    fn figure(&self, name: &'static str, value: f64, unit: &'static str, goal: f64, better: Better) -> Figure {
        let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
        Figure {
            name,
            value: rounded(value),
            unit,
            goal: rounded(goal),
            better,
            command: format!("make bench ONLY={}", self.0),
        }
    }
}

/// Prints the figures and writes them to `path`.
pub(crate) fn tell(figures: &[Figure], path: &Path) {
    println!(
        "\n{:<58} {:>10} {:<9} {:>8} {:>9}",
        "figure", "measured", "", "goal", "ratio"
    );
    for figure in figures {
        let sign = match figure.better {
            Better::Lower => "<=",
            Better::Higher => ">=",
        };
        let goal = format!("{sign} {}", figure.goal);
        let verdict = if figure.is_reached() { "reached" } else { "NOT REACHED" };
        let ratio = figure
            .ratio()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        println!(
            "{:<58} {:>10} {:<9} {goal:>8} {ratio:>9}  {verdict}",
            figure.name, figure.value, figure.unit
        );
    }
    let json = serde_json::to_string_pretty(figures).expect("figures are JSON");
    fs::write(path, json + "\n").expect("target can be written to");
    println!("\nThe same as JSON: {}", path.display());
}
