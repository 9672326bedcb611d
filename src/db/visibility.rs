//! Whose studies somebody may see: the one rule, and the SQL it is. Pure.
//!
//! Every statement that finds a study, or something of one, for somebody has this condition in it, so what one may not
//! see is not found, not counted and not suggested. The condition comes in two forms of the same ways to a study:
//! [`Visibility::of_one`] asks them about a study that is known already, [`Visibility::of_many`] gathers all studies
//! they lead to, which their indexes give at once.

use mysql_async::Value;

use crate::dicom::person_name::PersonName;

/// Which studies there are, for somebody.
#[derive(Debug, Clone, PartialEq)]
pub enum Visibility {
    /// All.
    All,
    /// This one alone.
    Study {
        /// Our own number of it.
        study_key: u64,
    },
    /// One study, as long as it is among those.
    OneOf {
        /// Our own number of it.
        study_key: u64,
        /// Which it has to be among.
        of: Box<Visibility>,
    },
    /// Those that name the person as Referring Physician, and those that they or a group of theirs were given.
    Own {
        /// The person's number.
        user_key: u64,
        /// The person's names.
        referring_names: ReferringNames,
    },
}

/// A condition on `study`, with a question mark for each value.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// To stand after WHERE or AND.
    pub sql: String,
    /// The values, in the order of the question marks.
    pub params: Vec<Value>,
}

/// As which Referring Physician (0008,0090) somebody owns studies: a name a line, as devices write it or as pages show
/// it. A `*` at the end stands for anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferringNames(Vec<ReferringName>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct ReferringName {
    written: String,
    /// Without case, accents and punctuation, as `study.referring_physician_name_folded` is.
    folded: String,
    rest: Rest,
}

/// What may follow the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Another component group.
    Nothing,
    /// More words.
    Words,
    /// The rest of the last word, and more words.
    Letters,
}

/// A way to a study: of which tables, where, and which column has the study's number.
struct Way {
    from: &'static str,
    study: &'static str,
    by: String,
    params: Vec<Value>,
}

impl Visibility {
    /// For a statement that names the study, series or instance it looks for.
    pub fn of_one(&self) -> Condition {
        let ways = match self.ways() {
            Ok(ways) => ways,
            Err(condition) => return condition,
        };
        let exists = |way: &Way| {
            format!(
                "EXISTS (SELECT 1 FROM {} WHERE {} = study.study_key AND ({}))",
                way.from, way.study, way.by
            )
        };
        let sql = ways.iter().map(exists).collect::<Vec<_>>().join("\n     OR ");
        Condition { sql: format!("({sql})"), params: ways.into_iter().flat_map(|way| way.params).collect() }
    }

    /// For a statement that looks for any number of studies.
    pub fn of_many(&self) -> Condition {
        let ways = match self.ways() {
            Ok(ways) => ways,
            Err(condition) => return condition,
        };
        let select =
            |way: &Way| format!("SELECT {} AS study_key FROM {} WHERE ({})", way.study, way.from, way.by);
        let sql = ways.iter().map(select).collect::<Vec<_>>().join("\n     UNION ");
        Condition {
            // Gathered once, as a table of its own: asked about each study in turn it would cost each study.
            sql: format!("study.study_key IN (SELECT visible.study_key FROM ({sql}) AS visible)"),
            params: ways.into_iter().flat_map(|way| way.params).collect(),
        }
    }

    /// The ways to one's own studies, or the condition that needs none.
    fn ways(&self) -> Result<Vec<Way>, Condition> {
        let (user_key, names) = match self {
            Visibility::All => return Err(Condition { sql: "TRUE".to_owned(), params: Vec::new() }),
            Visibility::Study { study_key } => {
                let params = vec![(*study_key).into()];
                return Err(Condition { sql: "study.study_key = ?".to_owned(), params });
            }
            Visibility::OneOf { study_key, of } => {
                let Condition { sql, mut params } = of.of_one();
                params.insert(0, (*study_key).into());
                return Err(Condition { sql: format!("(study.study_key = ? AND {sql})"), params });
            }
            Visibility::Own { user_key, referring_names } => (*user_key, referring_names),
        };
        let granted =
            |from, study, by: &str| Way { from, study, by: by.to_owned(), params: vec![user_key.into()] };
        let mut ways = vec![
            granted("study_grant", "study_grant.study_key", "study_grant.user_key = ?"),
            granted(
                "user_group_member JOIN study_grant ON study_grant.group_key = user_group_member.group_key",
                "study_grant.study_key",
                "user_group_member.user_key = ?",
            ),
            granted(
                "study_grant JOIN study AS theirs ON theirs.patient_key = study_grant.patient_key",
                "theirs.study_key",
                "study_grant.user_key = ?",
            ),
            granted(
                "user_group_member
                 JOIN study_grant ON study_grant.group_key = user_group_member.group_key
                 JOIN study AS theirs ON theirs.patient_key = study_grant.patient_key",
                "theirs.study_key",
                "user_group_member.user_key = ?",
            ),
        ];
        for way in &mut ways {
            // A row that gives a patient names no study.
            way.by.push_str(&format!(" AND {} IS NOT NULL", way.study));
        }
        if let Some((by, params)) = names.condition("referred.referring_physician_name_folded") {
            ways.push(Way { from: "study AS referred", study: "referred.study_key", by, params });
        }
        Ok(ways)
    }
}

impl ReferringNames {
    /// Most names that count.
    pub const MOST: usize = 20;

    /// From text with a name a line. A line without a letter or digit is nobody's name and is left out.
    pub fn parse(text: &str) -> ReferringNames {
        let names = text.lines().filter_map(ReferringName::parse).take(ReferringNames::MOST);
        ReferringNames(names.collect())
    }

    /// As text again.
    pub fn lines(&self) -> String {
        self.0.iter().map(|name| name.written.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The column is one of these names. None where there are none.
    fn condition(&self, column: &str) -> Option<(String, Vec<Value>)> {
        let mut sql = Vec::new();
        let mut params: Vec<Value> = Vec::new();
        for name in &self.0 {
            let like = super::matching::literally(&name.folded);
            let patterns = match name.rest {
                Rest::Nothing => vec![format!("{like}|%")],
                Rest::Words => vec![format!("{like}|%"), format!("{like} %")],
                Rest::Letters => vec![format!("{like}%")],
            };
            sql.push(format!("{column} = ?"));
            params.push(name.folded.as_str().into());
            for pattern in patterns {
                sql.push(format!("{column} LIKE ? ESCAPE '!'"));
                params.push(pattern.into());
            }
        }
        (!sql.is_empty()).then(|| (sql.join(" OR "), params))
    }
}

impl ReferringName {
    fn parse(line: &str) -> Option<ReferringName> {
        let written = line.trim();
        let (name, is_open) = match written.strip_suffix('*') {
            Some(name) => (name, true),
            None => (written, false),
        };
        let folded = PersonName::parse(name).folded();
        let rest = match (is_open, name.chars().next_back().is_some_and(char::is_alphanumeric)) {
            (false, _) => Rest::Nothing,
            (true, true) => Rest::Letters,
            (true, false) => Rest::Words,
        };
        (!folded.is_empty()).then(|| ReferringName { written: written.to_owned(), folded, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(names: &str) -> Visibility {
        Visibility::Own { user_key: 7, referring_names: ReferringNames::parse(names) }
    }

    fn patterns(names: &str) -> Vec<String> {
        let (_, params) = ReferringNames::parse(names).condition("c").unwrap_or_default();
        params.iter().map(|value| mysql_async::from_value(value.clone())).collect()
    }

    #[test]
    fn there_is_a_value_for_each_question_mark() {
        for visibility in
            [Visibility::All, Visibility::Study { study_key: 1 }, own(""), own("Smith^John\nYamada*")]
        {
            let nested = Visibility::OneOf { study_key: 2, of: Box::new(visibility.clone()) };
            for condition in [nested.of_one(), nested.of_many()] {
                assert_eq!(condition.sql.matches('?').count(), condition.params.len(), "{condition:?}");
            }
            for condition in [visibility.of_one(), visibility.of_many()] {
                assert_eq!(condition.sql.matches('?').count(), condition.params.len(), "{condition:?}");
            }
        }
    }

    #[test]
    fn a_name_is_the_first_component_group_whole() {
        assert_eq!(patterns("Smith^John"), ["smith john", "smith john|%"]);
        assert_eq!(patterns("Smith, John"), patterns("SMITH^JOHN"));
    }

    #[test]
    fn a_star_stands_for_what_follows() {
        assert_eq!(patterns("Smith^J*"), ["smith j", "smith j%"]);
        assert_eq!(patterns("Smith^*"), ["smith", "smith|%", "smith %"]);
    }

    #[test]
    fn what_names_nobody_matches_nobody() {
        for nobody in ["", "*", " ^ ", "%", "**", "\n\n"] {
            assert!(ReferringNames::parse(nobody).is_empty(), "{nobody:?}");
        }
        assert_eq!(patterns("100%_!"), ["100", "100|%"]);
    }

    #[test]
    fn names_survive_their_text() {
        let names = ReferringNames::parse(" Smith^John \n\n*\nYamada^Tarou=山田^太郎*");
        assert_eq!(names.lines(), "Smith^John\nYamada^Tarou=山田^太郎*");
        assert_eq!(ReferringNames::parse(&names.lines()), names);
    }
}
