//! What the trail says of logging in and out. Failures are written in bounded number, and never the name that was typed where
//! nobody has it: that may be a password.

use std::time::Duration;

use crate::app::App;
use crate::audit::Deed;
use crate::db::DbError;
use crate::db::audit::audit_count;
use crate::ids::SpaceId;
use crate::model::{AuditCategory, AuditKind, User};

/// Failures that are written in [`FAILURES_WINDOW`]. At the limit one more row says that further ones are left out.
const FAILURES_MAX: i64 = 100;

/// How long failures are counted.
const FAILURES_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Who it was, where nobody has the name that was typed.
const SOMEBODY: &str = "somebody";

/// Somebody logged in.
pub(super) async fn logged_in(app: &App, user: &User) -> Result<(), DbError> {
    let deed = Deed::new(AuditKind::Session, AuditCategory::LoginSucceeded, "Login", "logged in").on(user.id);
    write(app, deed.by(&user.username)).await
}

/// Somebody ended a session.
pub(super) async fn logged_out(app: &App, who: &str, line: &str) -> Result<(), DbError> {
    write(app, Deed::new(AuditKind::Session, AuditCategory::LoggedOut, "Logout", line).by(who)).await
}

/// Somebody gave a wrong password, or a name that nobody has (`None`).
pub(super) async fn login_failed(app: &App, known: Option<String>) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let written = audit_count(&mut tx, AuditCategory::LoginFailed, app.now().before(FAILURES_WINDOW)).await?;
    let failed = |line: &str| Deed::new(AuditKind::Session, AuditCategory::LoginFailed, "LoginFailed", line);
    let deed = match (written.cmp(&FAILURES_MAX), known) {
        (std::cmp::Ordering::Greater, _) => return Ok(()),
        (std::cmp::Ordering::Equal, _) => {
            failed("and others could not log in either; further failures of this hour are not listed").by(SOMEBODY)
        }
        (std::cmp::Ordering::Less, Some(name)) => {
            failed("was not let in: the password was wrong, or they may not log in").by(&name)
        }
        (std::cmp::Ordering::Less, None) => failed("was not let in: nobody has the name that was given").by(SOMEBODY),
    };
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    Ok(tx.commit().await?)
}

async fn write(app: &App, deed: Deed) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    Ok(tx.commit().await?)
}
