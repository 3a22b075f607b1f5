//! Environments: the heart of the portal. The list of all machines by environment, and the forms for environments.

pub mod filter;
mod live;
pub mod view;

use askama::Template;

use crate::clock::Timestamp;
use crate::pages::shell::{Section, Shell};
use crate::pages::view::{self as words, Status};
use crate::model::VersionState;
use self::view::EnvironmentsView;

#[derive(Template)]
#[template(path = "environments/list.html")]
struct ListPage {
    shell: Shell,
    view: EnvironmentsView,
    now: Timestamp,
}
