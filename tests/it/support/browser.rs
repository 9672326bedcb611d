//! A headless Chromium, driven over the WebDriver protocol (W3C) by chromedriver.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::TestServer;
use super::person::PASSWORD;

/// The name that stands for an element in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window. Dropping it ends chromedriver and the browser.
pub struct Browser {
    session: String,
    client: reqwest::Client,
    _driver: Driver,
    _profile: tempfile::TempDir,
}

/// A chromedriver and the browser it started: a process group of their own, because a chromedriver that is killed
/// leaves its browser running.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // SAFETY: the group is that of our child, which has not been waited for, so its number is still its own.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

impl Browser {
    /// An empty window of this size. Fails the test where there is no Chromium with its driver.
    pub async fn start(width: u32, height: u32) -> Browser {
        Browser::start_with(width, height, &["--disable-gpu"]).await
    }

    /// As [`Browser::start`], with WebGL, which is computed where there is no graphics card.
    pub async fn start_drawing(width: u32, height: u32) -> Browser {
        let computed = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
        Browser::start_with(width, height, &computed).await
    }

    async fn start_with(width: u32, height: u32, more: &[&str]) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Driver)
            .expect("chromedriver: `make test` installs chromium-driver");
        let mut lines = BufReader::new(driver.0.stdout.take().expect("its output")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("a line").expect("chromedriver says where it listens");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = tempfile::tempdir().expect("a folder");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-dev-shm-usage".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let more = more.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> = arguments.into_iter().chain(more).collect();
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let client = reqwest::Client::new();
        let address = format!("http://127.0.0.1:{port}/session");
        let made: Value = send(client.post(&address), &capabilities).await;
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("a session: {made}"));
        Browser { session: format!("{address}/{id}"), client, _driver: driver, _profile: profile }
    }

    /// Goes to an address and waits for the page.
    pub async fn open(&self, address: &str) {
        self.post("url", json!({ "url": address })).await;
    }

    /// Signs in by the page for it, as a person does.
    pub async fn sign_in(&self, pacs: &TestServer, name: &str) {
        self.sign_in_at(&pacs.address(""), name).await;
    }

    /// As [`Browser::sign_in`], at this server.
    pub async fn sign_in_at(&self, home: &str, name: &str) {
        self.open(&format!("{home}/login")).await;
        self.click("#name").await;
        self.type_keys(name).await;
        self.click("#password").await;
        self.type_keys(PASSWORD).await;
        self.type_keys("\u{E007}").await;
        self.until("location.pathname === '/studies'").await;
    }

    /// Makes the page this wide and high, also narrower than Chromium's windows can be.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.post("goog/cdp/execute", command).await;
    }

    /// What a piece of script returns on the page.
    pub async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Types on the keyboard, whatever has the focus.
    pub async fn type_keys(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        self.post("actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }))
            .await;
    }

    /// Clicks in the middle of what a CSS selector finds first.
    pub async fn click(&self, selector: &str) {
        self.click_times(selector, 1).await;
    }

    /// As [`Browser::click`], twice in a row.
    pub async fn double_click(&self, selector: &str) {
        self.click_times(selector, 2).await;
    }

    /// Chooses a file in the field for one that a CSS selector finds first.
    pub async fn choose_file(&self, selector: &str, file: &std::path::Path) {
        let field = self.element(selector).await;
        self.post(&format!("element/{field}/value"), json!({ "text": file })).await;
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn click_times(&self, selector: &str, times: usize) {
        let origin = json!({ ELEMENT: self.element(selector).await });
        let click =
            [json!({ "type": "pointerDown", "button": 0 }), json!({ "type": "pointerUp", "button": 0 })];
        let mut actions = vec![json!({ "type": "pointerMove", "origin": origin, "x": 0, "y": 0 })];
        actions.extend(std::iter::repeat_n(click, times).flatten());
        self.post(
            "actions",
            json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": actions }] }),
        )
        .await;
    }

    /// Waits until a piece of script returns something true, at most ten seconds.
    pub async fn until(&self, script: &str) {
        self.within(Duration::from_secs(10), script).await;
    }

    /// As [`Browser::until`], for what takes longer.
    pub async fn within(&self, time: Duration, script: &str) {
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end {
            if self.script(&format!("return Boolean({script})")).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let text = self.script("return document.body.innerText").await;
        panic!("never came true: {script}\n{text}");
    }

    /// What the page complained of: errors of scripts, refused loads, violations of the security policy.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        send(self.client.post(format!("{}/{command}", self.session)), &body).await
    }
}

async fn send(request: reqwest::RequestBuilder, body: &Value) -> Value {
    let answer = request.json(body).send().await.expect("chromedriver answers");
    let answer: Value = answer.json().await.expect("JSON");
    assert!(answer["value"]["error"].is_null(), "{}", answer["value"]);
    answer["value"].clone()
}
