//! A person at a browser without scripts: reads pages, and sends the forms that stand on them.

use anyhow::{Context as _, bail, ensure};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method, Response, Url, redirect};
use scraper::{ElementRef, Html, Selector};
use xtask::Portal;

use crate::world::LIMIT;

/// Redirects that are followed for one request. More go in a circle.
const REDIRECTS_MAX: usize = 5;

/// Somebody who is logged in.
#[derive(Debug)]
pub struct Visitor {
    client: Client,
    url: Url,
    cookie: String,
}

/// A page as it came.
#[derive(Clone, Debug)]
pub struct Page {
    /// From the root: `/environments`.
    pub path: String,
    /// What the server sent.
    pub html: String,
}

/// A form that stands on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// How it goes there.
    pub method: Method,
    /// Where it goes.
    pub action: String,
    /// What it says without being filled in.
    pub fields: Vec<(String, String)>,
    /// The words on its buttons.
    pub words: String,
}

impl Visitor {
    /// Logs in as `admin` with the form of the log-in page.
    pub async fn log_in(portal: &Portal) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(LIMIT).redirect(redirect::Policy::none()).build()?;
        let mut visitor = Self { client, url: portal.url().parse()?, cookie: String::new() };
        let door = visitor.page("/environments").await?;
        ensure!(door.path.starts_with("/login"), "a stranger was let in to {}", door.path);
        let form = door.form("Log in")?;
        let page = visitor.submit(&form, &[("username", "admin"), ("password", portal.admin_password())]).await?;
        ensure!(page.path.starts_with("/environments"), "the log-in led to {}: {}", page.path, page.text());
        Ok(visitor)
    }

    /// Reads a page, following redirects.
    pub async fn page(&mut self, path: &str) -> anyhow::Result<Page> {
        let response = self.send(Method::GET, path, None).await?;
        self.follow(path, response).await
    }

    /// Sends a form with some fields filled in, and reads the page that it leads to.
    pub async fn submit(&mut self, form: &Form, fill: &[(&str, &str)]) -> anyhow::Result<Page> {
        let mut fields = form.fields.clone();
        for (name, value) in fill {
            let field = fields.iter_mut().find(|(field, _)| field == name);
            field.with_context(|| format!("the form has no field {name}: {form:?}"))?.1 = (*value).to_owned();
        }
        let mut body = self.url.clone();
        body.query_pairs_mut().clear().extend_pairs(&fields);
        if form.method == Method::GET {
            return self.page(&format!("{}?{}", form.action, body.query().unwrap_or_default())).await;
        }
        let response = self.send(Method::POST, &form.action, body.query()).await?;
        self.follow(&form.action, response).await
    }

    async fn follow(&mut self, path: &str, mut response: Response) -> anyhow::Result<Page> {
        let mut path = path.to_owned();
        for _ in 0..REDIRECTS_MAX {
            if !response.status().is_redirection() {
                let status = response.status();
                let html = response.text().await?;
                ensure!(status.is_success(), "{path} was answered with {status}: {html}");
                return Ok(Page { path, html });
            }
            let to = response.headers().get(LOCATION).context("a redirect leads nowhere")?.to_str()?;
            path = to.to_owned();
            response = self.send(Method::GET, &path, None).await?;
        }
        bail!("more than {REDIRECTS_MAX} redirects, the last to {path}")
    }

    async fn send(&mut self, method: Method, path: &str, form: Option<&str>) -> anyhow::Result<Response> {
        let mut request = self.client.request(method, self.url.join(path)?).header(COOKIE, &self.cookie);
        if let Some(form) = form {
            let origin = self.url.origin().ascii_serialization();
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ORIGIN, origin);
            request = request.body(form.to_owned());
        }
        let response = request.send().await.with_context(|| format!("{path} was not answered"))?;
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            cookie.to_str()?.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        Ok(response)
    }
}

impl Page {
    /// The text of the page as people read it: without tags, with single spaces.
    pub fn text(&self) -> String {
        let html = Html::parse_document(&self.html);
        words(html.root_element())
    }

    /// The text of the first element that `selector` finds.
    pub fn text_of(&self, selector: &str) -> anyhow::Result<String> {
        let html = Html::parse_document(&self.html);
        let found = html.select(&parse(selector)?).next().map(words);
        found.with_context(|| format!("nothing on {} is {selector}: {}", self.path, self.text()))
    }

    /// The text of the row of a table in which a cell holds `words`.
    pub fn row(&self, name: &str) -> anyhow::Result<String> {
        let html = Html::parse_document(&self.html);
        let row = html.select(&parse("tr")?).map(words).find(|row| row.split(' ').any(|word| word == name));
        row.with_context(|| format!("{} has no row of {name}: {}", self.path, self.text()))
    }

    /// Every form that can be sent.
    pub fn forms(&self) -> anyhow::Result<Vec<Form>> {
        let html = Html::parse_document(&self.html);
        let (form, button) = (parse("form")?, parse("button")?);
        let field = parse("input[name]:not([type=checkbox]), textarea[name], select[name], input[checked]")?;
        let disabled = parse("button[disabled]")?;
        let forms = html.select(&form).filter(|form| form.select(&disabled).next().is_none());
        let read = |form: ElementRef<'_>| Form {
            method: method(form, None),
            action: form.attr("action").unwrap_or_default().to_owned(),
            fields: form.select(&field).map(value).collect(),
            words: form.select(&button).map(words).collect::<Vec<_>>().join(" "),
        };
        Ok(forms.map(read).collect())
    }

    /// The form of the one button that begins with these words, as that button sends it.
    pub fn button(&self, words: &str) -> anyhow::Result<Form> {
        let html = Html::parse_document(&self.html);
        let (form, button) = (parse("form")?, parse("button:not([disabled])")?);
        let field = parse("input[name]:not([type=checkbox]), textarea[name], select[name], input[checked]")?;
        let press = |form: ElementRef<'_>, button: ElementRef<'_>| {
            let own =
                button.attr("name").map(|name| (name.to_owned(), button.attr("value").unwrap_or_default().to_owned()));
            let action = button.attr("formaction").or(form.attr("action")).unwrap_or_default();
            let fields = form.select(&field).map(value).chain(own).collect();
            Form { method: method(form, Some(button)), action: action.to_owned(), fields, words: self::words(button) }
        };
        let mut found: Vec<Form> = Vec::new();
        for form in html.select(&form) {
            found.extend(
                form.select(&button).map(|button| press(form, button)).filter(|form| form.words.starts_with(words)),
            );
        }
        ensure!(found.len() == 1, "{} has {} buttons \"{words}\": {}", self.path, found.len(), self.text());
        Ok(found.remove(0))
    }

    /// The one form that goes to an address.
    pub fn form_to(&self, action: &str) -> anyhow::Result<Form> {
        let mut forms = self.forms()?;
        forms.retain(|form| form.action == action);
        ensure!(forms.len() == 1, "{} has {} forms to {action}: {}", self.path, forms.len(), self.text());
        Ok(forms.remove(0))
    }

    /// The one form with a button that begins with these words.
    pub fn form(&self, words: &str) -> anyhow::Result<Form> {
        let mut forms = self.forms()?;
        forms.retain(|form| form.words.starts_with(words));
        ensure!(forms.len() == 1, "{} has {} forms \"{words}\": {}", self.path, forms.len(), self.text());
        Ok(forms.remove(0))
    }
}

fn parse(selector: &str) -> anyhow::Result<Selector> {
    Selector::parse(selector).map_err(|error| anyhow::anyhow!("{selector}: {error}"))
}

/// How a form is sent, or by a button that says otherwise.
fn method(form: ElementRef<'_>, button: Option<ElementRef<'_>>) -> Method {
    let said = button.and_then(|button| button.attr("formmethod")).or(form.attr("method"));
    if said.is_some_and(|said| said.eq_ignore_ascii_case("post")) { Method::POST } else { Method::GET }
}

fn words(element: ElementRef<'_>) -> String {
    let text: String = element.text().collect::<Vec<_>>().join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a browser sends of a field that nobody touched: of a list the first choice, or the one that is selected.
fn value(field: ElementRef<'_>) -> (String, String) {
    let choices = || field.descendent_elements().filter(|element| element.value().name() == "option");
    let choice = choices().find(|choice| choice.attr("selected").is_some()).or_else(|| choices().next());
    let holder = choice.unwrap_or(field);
    let text = || holder.text().collect();
    (field.attr("name").unwrap_or_default().to_owned(), holder.attr("value").map_or_else(text, str::to_owned))
}
