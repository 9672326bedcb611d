//! Figures as they come in, and the table and the JSON they become.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::server::Product;

/// Whether more of a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// What a figure is of: a product, or what the machine or the sender can do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Product(Product),
    /// The sender against a sink that throws away.
    Ceiling,
    /// The machine, with nothing but what has to be done.
    Floor,
}

struct Row {
    section: &'static str,
    title: String,
    unit: &'static str,
    better: Better,
    values: BTreeMap<Of, Vec<f64>>,
}

/// All rows, in the order in which they were first told.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// One measurement of one round.
    pub fn add(
        &mut self,
        section: &'static str,
        title: impl Into<String>,
        unit: &'static str,
        better: Better,
        of: Of,
        value: f64,
    ) {
        let title = title.into();
        let known = self.rows.iter().position(|row| row.section == section && row.title == title);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { section, title, unit, better, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(index) {
            row.values.entry(of).or_default().push(value);
        }
    }

    /// Markdown: a table for each section.
    pub fn table(&self) -> String {
        let heads = Product::ALL.map(Product::name).join(" | ");
        let mut sections: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !sections.contains(&row.section) {
                sections.push(row.section);
            }
        }
        let mut text = String::new();
        for section in sections {
            let lines = self.rows.iter().filter(|row| row.section == section).map(Row::line);
            let _ = write!(
                text,
                "\n### {section}\n\n| figure | unit | {heads} | × MariaDB | × SQLite | sender's ceiling | floor | of \
                 floor |\n|---|---|{}\n{}\n",
                "--:|".repeat(Product::ALL.len() + 5),
                lines.collect::<Vec<_>>().join("\n")
            );
        }
        text
    }

    /// Every measurement with its median.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let values: BTreeMap<String, Value> = row
                .values
                .iter()
                .map(|(of, values)| (of.key(), json!({ "median": median(values), "rounds": values })))
                .collect();
            json!({
                "section": row.section,
                "figure": row.title,
                "unit": row.unit,
                "better": if row.better == Better::Higher { "higher" } else { "lower" },
                "values": values,
            })
        });
        rows.collect()
    }
}

impl Of {
    fn key(self) -> String {
        match self {
            Of::Product(product) => product.name().to_owned(),
            Of::Ceiling => "ceiling".to_owned(),
            Of::Floor => "floor".to_owned(),
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let value = |of: Of| self.values.get(&of).map(|values| median(values));
        let shown = |of: Of| value(of).map_or_else(String::new, short);
        let ours = value(Of::Product(Product::Filmroom));
        let times = |of: Of| match (ours, value(of)) {
            (Some(ours), Some(other)) if ours > 0.0 && other > 0.0 => {
                let ratio = if self.better == Better::Higher { ours / other } else { other / ours };
                format!("{} ×", short(ratio))
            }
            _ => String::new(),
        };
        let of_floor = match (ours, value(Of::Floor)) {
            (Some(ours), Some(floor)) if ours > 0.0 && floor > 0.0 => {
                let share = if self.better == Better::Higher { ours / floor } else { floor / ours };
                format!("{:.0} %", share * 100.0)
            }
            _ => String::new(),
        };
        let products = Product::ALL.map(|product| shown(Of::Product(product))).join(" | ");
        format!(
            "| {} | {} | {products} | {} | {} | {} | {} | {of_floor} |",
            self.title,
            self.unit,
            times(Of::Product(Product::OrthancMariadb)),
            times(Of::Product(Product::OrthancSqlite)),
            shown(Of::Ceiling),
            shown(Of::Floor),
        )
    }
}

/// The middle one; of an even number of values, the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
