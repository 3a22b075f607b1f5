//! The form that deploys a package to the machines of an environment.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::PackageRow;
use crate::app::App;
use crate::auth::{PageUser, operates};
use crate::db::environments::environment_list;
use crate::ids::EnvironmentId;
use crate::model::Environment;
use crate::pages::form::{Address, Body, Fields};
use crate::pages::shell::{Section, Shell};
use crate::pages::tasks::refused;
use crate::pages::{PageError, sentence};
use crate::rollout::create::Selection;
use crate::tasks::{DeployRequest, task_create_deploy};

pub(super) fn router() -> Router<App> {
    Router::new().route("/deploy", get(ask).post(deploy))
}

/// What stands in the form, as it was typed.
#[derive(Clone, Debug)]
struct Draft {
    package: String,
    version: String,
    environment: Option<EnvironmentId>,
    roles: String,
    variables: String,
}

impl From<&Fields> for Draft {
    /// A link names package and version apart; the form's one choice holds both.
    fn from(fields: &Fields) -> Self {
        let (package, version) = match fields.get("choice").split_once(' ') {
            Some(both) => both,
            None => (fields.get("package"), fields.get("version")),
        };
        Self {
            package: package.to_owned(),
            version: version.to_owned(),
            environment: fields.get("environment").parse().ok(),
            roles: fields.words("roles").join(", "),
            variables: fields.get("variables").replace("\r\n", "\n"),
        }
    }
}

impl Draft {
    fn is_for(&self, environment: &EnvironmentId) -> bool {
        self.environment == Some(*environment)
    }

    fn chooses(&self, package: &str, version: &str) -> bool {
        self.package == package && self.version == version
    }

    /// What it asks for, or why it cannot be.
    fn read(&self) -> Result<DeployRequest, String> {
        let environment = self.environment.ok_or("choose an environment")?;
        Ok(DeployRequest {
            package_id: self.package.parse().map_err(|error: contract::NameError| error.to_string())?,
            version: Some(self.version.parse().map_err(|error: contract::VersionError| error.to_string())?),
            environment,
            roles: self.roles.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            variables: read_variables(&self.variables)?,
            description: None,
        })
    }
}

/// Reads `Name=value` lines; empty lines and lines that begin with `#` are left out.
fn read_variables(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), value));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(format!("line {number} of the variables must have the form Name=value"));
        };
        if variables.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the variable {name} is there twice"));
        }
    }
    Ok(variables)
}

#[derive(Template, WebTemplate)]
#[template(path = "packages/deploy.html")]
struct DeployPage {
    shell: Shell,
    packages: Vec<PackageRow>,
    environments: Vec<Environment>,
    draft: Draft,
    problem: Option<String>,
}

async fn ask(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<DeployPage, PageError> {
    page(&app, &user, Draft::from(&fields), None).await
}

async fn page(app: &App, user: &PageUser, draft: Draft, problem: Option<String>) -> Result<DeployPage, PageError> {
    let groups = super::load(app, user.0.space).await?.groups;
    let packages = groups.into_iter().flat_map(|group| group.versions).filter(|package| !package.is_tentacle).collect();
    let environments = environment_list(&mut *app.db.read().await?, user.0.space).await?;
    let shell = Shell::new(app, user, Section::Packages, "Deploy a package");
    Ok(DeployPage { shell, packages, environments, draft, problem })
}

async fn deploy(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let draft = Draft::from(&fields);
    let read = draft.read();
    if let Ok(request) = &read {
        operates(&app, &user.0, user.0.space, &Selection::Environments(vec![request.environment])).await?;
    }
    let problem = match read {
        Ok(request) => match task_create_deploy(&app, user.0.space, &user.0.username, request).await {
            Ok(task) => return Ok(Redirect::to(&format!("/tasks/{task}")).into_response()),
            Err(error) => match refused(error) {
                error if error.status.is_client_error() => error.message,
                error => return Err(error.into()),
            },
        },
        Err(problem) => sentence(&problem),
    };
    let page = page(&app, &user, draft, Some(problem)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_line_by_line() {
        let read = read_variables("# note\nUrl=http://a/?b=c\n\n Name = x \n").unwrap();
        let pairs: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("Name", " x "), ("Url", "http://a/?b=c")]);
        assert!(read_variables("a=1\nnonsense").unwrap_err().contains("line 2"));
        assert!(read_variables("=1").is_err() && read_variables("a=1\na=2").is_err());
    }
}
