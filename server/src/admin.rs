//! What `octopus-server admin` does: talks to the database itself, beside a portal that may be running.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;

use crate::audit::at_console;
use crate::auth::api_key_create;
use crate::backup::DATABASE;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AdminCommand, CreateApiKeyArgs};
use crate::db::Db;
use crate::db::users::user_by_name;
use crate::model::KeyWish;

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Does what was asked; what it prints on stdout is the result and nothing else.
pub async fn admin(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::CreateApiKey(args) => {
            let key = create_api_key(&args).await?;
            writeln!(io::stdout(), "{key}").context("the key was made, but could not be printed")?;
        }
    }
    Ok(())
}

async fn create_api_key(args: &CreateApiKeyArgs) -> anyhow::Result<String> {
    let path = args.data_dir.join(DATABASE);
    anyhow::ensure!(path.is_file(), "there is no portal in {}: run one there first", args.data_dir.display());
    let db = Db::open(&path).await?;
    let mut tx = db.write().await?;
    let user = user_by_name(&mut tx, &args.user).await?;
    let user = user.with_context(|| format!("there is no user \"{}\"", args.user))?;
    let now = SystemClock.now();
    let expires_at = args.days.map(|days| now.after(Duration::from_secs(u64::from(days) * DAY_S)));
    let wish = KeyWish { purpose: &args.purpose, scope: args.scope.into(), expires_at };
    let (_, key) = at_console(api_key_create(&mut tx, user.id, &wish, now)).await?;
    tx.commit().await.context("the key could not be stored")?;
    db.close().await;
    Ok(key)
}
