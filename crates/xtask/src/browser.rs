//! A real browser, driven over the pipe of its DevTools protocol: each message is JSON, and a zero byte ends it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::portal::Portal;
use crate::wait::wait_for;

/// Names under which a browser that knows the protocol is installed.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// It is for one page of ours: no sandbox, because tests may run as root; and no calls to anybody else.
const FLAGS: [&str; 12] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
];

/// How long anything is waited for. It is long, because the machine may be busy; who waits so long has failed.
const LIMIT: Duration = Duration::from_secs(90);

/// How long the browser may take to close. Then it is killed.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The word for it.
    pub name: &'static str,
    /// Pixels of the window from left to right, and from top to bottom.
    pub size: (u32, u32),
    /// The colours that are wished.
    pub scheme: &'static str,
}

impl Look {
    /// A desk and a phone, in the light and in the dark.
    pub const ALL: [Self; 4] = [
        Self { name: "desk-light", size: (1280, 900), scheme: "light" },
        Self { name: "desk-dark", size: (1280, 900), scheme: "dark" },
        Self { name: "phone-light", size: (360, 740), scheme: "light" },
        Self { name: "phone-dark", size: (360, 740), scheme: "dark" },
    ];
}

/// A browser with one page. It ends, and its profile goes, when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last_call: u64,
    /// What the page logged as an error: its own exceptions, failed requests, and what the content security policy
    /// forbade.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// The browser of this computer, if there is one.
    pub fn installed() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        let places = || std::env::split_paths(&path);
        PROGRAMS.iter().flat_map(|name| places().map(move |folder| folder.join(name))).find(|program| program.is_file())
    }

    /// Starts a browser and opens an empty page.
    pub async fn start(program: &OsStr) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("octopus-browser-").tempdir()?;
        let mut command = Command::new("sh");
        // The protocol is spoken on the descriptors 3 and 4; a command here can only be given 0, 1 and 2.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"]).arg(program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        // What it looks for and writes at home stays in its profile.
        command.env("HOME", profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the browser")?;
        let to = child.stdin.take().context("the browser has no stdin")?;
        let from = BufReader::new(child.stdout.take().context("the browser has no stdout")?);
        let mut browser =
            Self { child, to, from, session: None, last_call: 0, complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await?;
        browser.session = Some(attached["sessionId"].as_str().context("there is no session")?.to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await?;
        }
        Ok(browser)
    }

    /// Opens an address and waits until `script` is true there.
    pub async fn open(&mut self, url: &str, script: &str) -> anyhow::Result<()> {
        let opened = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(opened.get("errorText").is_none(), "cannot open {url}: {opened}");
        self.wait(script).await
    }

    /// The value of a script in the page, or what it promises.
    pub async fn evaluate(&mut self, script: &str) -> anyhow::Result<Value> {
        let done = self
            .call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true, "awaitPromise": true }))
            .await?;
        ensure!(done.get("exceptionDetails").is_none(), "{script}: {done}");
        Ok(done["result"]["value"].clone())
    }

    /// Waits until a script is true in the page, however often the page changes meanwhile.
    pub async fn wait(&mut self, script: &str) -> anyhow::Result<()> {
        let script = format!("document.readyState === 'complete' && Boolean({script})");
        let waited =
            wait_for(&script, LIMIT, async || Ok((self.evaluate(&script).await? == Value::Bool(true)).then_some(())));
        let Err(error) = waited.await else { return Ok(()) };
        let text = self.evaluate("location.href + ' ' + document.body.innerText").await?;
        Err(error.context(format!("the page says: {text}")))
    }

    /// Types into the field that `selector` finds.
    pub async fn type_into(&mut self, selector: &str, text: &str) -> anyhow::Result<()> {
        self.click(selector).await?;
        self.insert(text).await
    }

    /// Types where the focus is.
    pub async fn insert(&mut self, text: &str) -> anyhow::Result<()> {
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// Presses the mouse in the middle of what `selector` finds.
    pub async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let place = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let place = self.evaluate(&place).await?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Presses a key and lets it go. `key` is its name in the field's standard, as `Tab`, `Enter` or `/`.
    pub async fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            " " => (32, " "),
            "ArrowDown" => (40, ""),
            "ArrowUp" => (38, ""),
            "ArrowLeft" => (37, ""),
            "ArrowRight" => (39, ""),
            other => (0, other),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Looks at the page, and at those that come, in this way; always without motion.
    pub async fn look(&mut self, look: Look) -> anyhow::Result<()> {
        let (width, height) = look.size;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let features = json!([
            { "name": "prefers-color-scheme", "value": look.scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await.map(drop)
    }

    /// The whole page as a PNG.
    pub async fn picture(&mut self) -> anyhow::Result<Vec<u8>> {
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await?;
        let data = shot["data"].as_str().context("there is no picture")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(data)?)
    }

    /// Logs in as `admin` of a portal.
    pub async fn log_in(&mut self, portal: &Portal) -> anyhow::Result<()> {
        let login = format!("{}/login", portal.url());
        self.open(&login, "document.querySelector('#username')").await?;
        self.type_into("#username", "admin").await?;
        self.type_into("#password", portal.admin_password()).await?;
        self.click("form button").await?;
        self.wait("location.pathname !== '/login'").await
    }

    /// Closes it.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.session = None;
        self.call("Browser.close", json!({})).await?;
        timeout(CLOSE_MAX, self.child.wait()).await.context("the browser did not close")??;
        Ok(())
    }

    async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_call += 1;
        let mut message = json!({ "id": self.last_call, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).await.context("the browser is gone")?;
        let answered = timeout(LIMIT, self.answer(self.last_call)).await;
        let answer = answered.with_context(|| format!("the browser did not answer {method}"))??;
        match answer.get("error") {
            Some(error) => bail!("the browser refused {method}: {error}"),
            None => Ok(answer["result"].clone()),
        }
    }

    async fn answer(&mut self, call: u64) -> anyhow::Result<Value> {
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).await?;
            ensure!(bytes.pop() == Some(0), "the browser ended");
            let message: Value = serde_json::from_slice(&bytes)?;
            if message["id"] == call {
                return Ok(message);
            }
            self.complaints.extend(complaint(&message));
        }
    }
}

/// What is wrong, if the message says that anything is.
fn complaint(message: &Value) -> Option<String> {
    let params = &message["params"];
    let wrong = match message["method"].as_str()? {
        "Runtime.exceptionThrown" => true,
        "Runtime.consoleAPICalled" => params["type"] == "error" || params["type"] == "assert",
        "Log.entryAdded" => params["entry"]["level"] == "error",
        _ => false,
    };
    wrong.then(|| params.to_string())
}
