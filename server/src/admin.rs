//! What `octopus-server admin` does: talks to the database itself, beside a portal that may be running.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::audit::{CONSOLE, at_console};
use crate::auth::api_key_create;
use crate::backup::DATABASE;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AdminCommand, ConfirmRestoreArgs, CreateApiKeyArgs};
use crate::db::Db;
use crate::db::users::user_by_name;
use crate::error::sentence;
use crate::model::KeyWish;
use crate::restored::confirm::{restored_confirm, restored_look};
use crate::restored::restored_open;

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Does what was asked; what it prints on stdout is the result and nothing else.
pub async fn admin(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::CreateApiKey(args) => {
            let key = create_api_key(&args).await?;
            writeln!(io::stdout(), "{key}").context("the key was made, but could not be printed")?;
        }
        AdminCommand::ConfirmRestore(args) => {
            let said = confirm_restore(&args).await?;
            writeln!(io::stdout(), "{said}").context("it was done, but could not be told of")?;
        }
    }
    Ok(())
}

/// The database of a portal that is there.
async fn open(data_dir: &Path) -> anyhow::Result<Db> {
    let path = data_dir.join(DATABASE);
    anyhow::ensure!(path.is_file(), "there is no portal in {}: run one there first", data_dir.display());
    Ok(Db::open(&path).await?)
}

/// Says which keys rest because the portal was restored, and lets them work again where that is wished.
async fn confirm_restore(args: &ConfirmRestoreArgs) -> anyhow::Result<String> {
    let db = open(&args.data_dir).await?;
    let mut tx = db.write().await?;
    let now = SystemClock.now();
    if restored_open(&mut tx).await?.is_none() {
        return Ok("Nothing is to be confirmed.".to_owned());
    }
    let resting = restored_look(&mut tx, now).await?.context("nothing is to be confirmed")?;
    let mut said = vec![sentence(&resting.restored.reason())];
    for (key, user) in &resting.api_keys {
        said.push(format!("{} of {user}, made {}: {}", key.id, key.created_at.minutes(), key.purpose));
    }
    for key in &resting.registration_keys {
        said.push(format!("{} of {}, made {}", key.id, key.username, key.created_at.minutes()));
    }
    if args.yes {
        at_console(restored_confirm(&mut tx, now, CONSOLE)).await?;
        tx.commit().await.context("it could not be stored")?;
        said.push(format!("Confirmed: {} work again, and rollouts may be begun and resumed.", resting.keys()));
    } else {
        // The database closes when nobody has a connection of it.
        drop(tx);
        let keys = resting.keys();
        said.push(format!("With --yes, {keys} work again, and rollouts may be begun and resumed."));
    }
    db.close().await;
    Ok(said.join("\n"))
}

async fn create_api_key(args: &CreateApiKeyArgs) -> anyhow::Result<String> {
    let db = open(&args.data_dir).await?;
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
