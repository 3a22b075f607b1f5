//! `suction-cup status`: what a person who is logged in to the machine wants to know, read from the disk and `/proc`
//! alone. The running Suction Cup is not asked, waited for or disturbed.
//!
//! [`note`] is what the running one leaves on the disk, [`report`] makes the text; both are pure. Called by `main` and by
//! the loop, which writes the note.

pub mod note;
pub mod report;

use std::path::Path;
use std::time::SystemTime;

use contract::Home;

use crate::sys;
use note::Note;
use report::{Facts, Report};

/// Looks at everything and makes the report.
pub fn look(home: &Path) -> Report {
    let home = Home::new(std::path::absolute(home).unwrap_or_else(|_| home.to_path_buf()));
    let note = sys::read_small(&home.status()).map(|text| Note::from_text(&text));
    let survey = sys::survey(&home);
    let verdicts = survey.versions.iter().filter(|one| one.rejected);
    let verdicts = verdicts.map(|one| (one.version.clone(), sys::read_small(&home.rejected(&one.version))));
    let holder = sys::holder_of_lock(&home);
    report::report(&Facts {
        home: home.path().to_owned(),
        readable: sys::can_read(&home),
        holder,
        age_of: &sys::age_of,
        verdicts: verdicts.filter_map(|(version, text)| Some((version, text?))).collect(),
        note,
        survey,
        last_words: sys::read_small(&home.last_words()),
        monotonic: sys::monotonic(),
        wall: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    })
}
