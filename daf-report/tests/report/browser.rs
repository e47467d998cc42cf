//! The report in a real browser, driven by chromedriver: `DAF_BROWSER` names one; without the variable the
//! one on the path is tried, and the test is skipped, visibly, where there is none. `DAF_SCREENSHOTS` names a
//! folder for pictures of the page.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::drawn;

/// A browser with one window; it ends with the value.
struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
}

impl Browser {
    /// `None` if there is no chromedriver.
    fn start() -> Option<Self> {
        let named = std::env::var("DAF_BROWSER").ok();
        let program = named.clone().unwrap_or_else(|| "chromedriver".into());
        let driver = Command::new(&program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                assert!(named.is_none(), "DAF_BROWSER={program}: {error}");
                return None;
            }
        };
        let lines = BufReader::new(driver.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let port: u16 = lines
            .filter_map(|line| {
                line.split_once("successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .next()
            .expect("chromedriver tells its port");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            agent,
        };
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.post("", &wanted)["sessionId"]
            .as_str()
            .unwrap()
            .to_owned();
        browser.session = format!("{}/{session}", browser.session);
        Some(browser)
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let request = self.agent.post(&url).header("content-type", "application/json");
        let text = request
            .send(body.to_string().as_str())
            .unwrap()
            .body_mut()
            .with_config()
            .limit(100 << 20)
            .read_to_string();
        let mut answer: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert!(answer["value"].get("error").is_none(), "{command}: {answer}");
        answer["value"].take()
    }

    fn open(&self, page: &Path) {
        self.post("/url", &json!({"url": format!("file://{}", page.display())}));
    }

    fn eval(&self, script: &str) -> Value {
        self.post(
            "/execute/sync",
            &json!({"script": format!("return {script}"), "args": []}),
        )
    }

    fn text(&self, selector: &str) -> String {
        self.eval(&format!("document.querySelector({selector:?}).textContent"))
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn flag(&self, script: &str) -> bool {
        self.eval(script).as_bool().unwrap()
    }

    fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let element = found
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses a key as a person does; W3C's WebDriver has its code points.
    fn press(&self, key: char) {
        let actions = ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}));
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    fn window(&self, width: u32, height: u32, scheme: &str) {
        let phone = width < 600;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Of the whole page, or of the window.
    fn screenshot(&self, target: &Path, beyond: bool) {
        use base64::Engine;
        let taken = self.devtools(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": beyond}),
        );
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(taken["data"].as_str().unwrap())
            .unwrap();
        std::fs::write(target, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

const LEFT: char = '\u{e012}';
const RIGHT: char = '\u{e014}';
const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';

/// Values of the cards that are shown, in their order.
fn shown(browser: &Browser, key: &str) -> Vec<String> {
    let script =
        format!("[...document.querySelectorAll('.card:not([hidden])')].map((card) => card.dataset.{key})");
    serde_json::from_value(browser.eval(&script)).unwrap()
}

fn falls(values: &[String]) -> bool {
    let numbers: Vec<f64> = values.iter().map(|value| value.parse().unwrap()).collect();
    numbers.windows(2).all(|pair| pair[0] >= pair[1])
}

#[test]
fn a_report_sorts_filters_enlarges_and_browses_in_a_browser() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: no chromedriver; DAF_BROWSER can name one");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = drawn::run(folder.path(), 63, 1);
    browser.window(1280, 900, "light");
    browser.open(&daf_report::write(folder.path()).unwrap());

    // Sorted by error from the start, then by what is chosen.
    assert_eq!(browser.text("#count"), "63 of 63 images");
    assert!(falls(&shown(&browser, "error")));
    browser.click("#sort option[value=high]");
    assert!(falls(&shown(&browser, "score")) && !falls(&shown(&browser, "error")));
    browser.click("#sort option[value=low]");
    let mut rising = shown(&browser, "score");
    rising.reverse();
    assert!(falls(&rising));
    browser.click("#sort option[value=place]");
    assert_eq!(
        shown(&browser, "place"),
        (0..63).map(|place| place.to_string()).collect::<Vec<_>>()
    );

    // Filtered by defect type and verdict. An image with two types is there for each.
    let kinds = browser.eval("[...document.querySelectorAll('#kind option')].map((kind) => kind.value)");
    assert_eq!(kinds, json!(["", "good", "hole", "scratch & dent", "stain"]));
    browser.click("#kind option:nth-child(3)");
    let holes: Vec<_> = run
        .predictions
        .iter()
        .map(|image| image.label.replace(", ", "\n"))
        .filter(|kinds| kinds == "hole" || kinds == "hole\nstain")
        .collect();
    assert_eq!(shown(&browser, "kinds"), holes);
    assert_eq!(browser.text("#count"), format!("{} of 63 images", holes.len()));
    browser.click("#kind option:first-child");
    browser.click("#verdict option[value=wrong]");
    let at = run.metrics.as_ref().unwrap().at_threshold.unwrap();
    assert!(at.false_alarms > 0 && at.missed > 0);
    assert_eq!(shown(&browser, "place").len(), at.false_alarms + at.missed);
    browser.click("#verdict option:first-child");

    // Enlarged by a click, browsed with the arrow keys, closed with Escape.
    browser.click("#sort option[value=place]");
    assert!(!browser.flag("document.getElementById('viewer').open"));
    browser.click(".card:nth-child(2) button");
    assert!(browser.flag("document.getElementById('viewer').open"));
    assert_eq!(browser.text("#viewer-title"), "hole/001.png");
    assert_eq!(
        browser.eval("document.querySelectorAll('#viewer-views figure').length"),
        4
    );
    if let Some(target) = std::env::var_os("DAF_SCREENSHOTS") {
        browser.screenshot(&Path::new(&target).join("viewer.png"), false);
    }
    let names = "[...document.querySelectorAll('#viewer-views [role=img]')].every((view) => view.ariaLabel)";
    assert!(browser.flag(names));
    browser.press(RIGHT);
    assert_eq!(browser.text("#viewer-title"), "scratch & dent/002.png");
    browser.press(RIGHT);
    // A normal image has no true defect.
    assert_eq!(
        browser.eval("document.querySelectorAll('#viewer-views figure').length"),
        3
    );
    browser.press(LEFT);
    browser.press(LEFT);
    browser.press(LEFT);
    browser.press(LEFT);
    assert_eq!(
        browser.text("#viewer-title"),
        "good/000.png",
        "the first image is the end"
    );
    browser.click("#next");
    assert_eq!(browser.text("#viewer-title"), "hole/001.png");
    browser.press(ESCAPE);
    assert!(!browser.flag("document.getElementById('viewer').open"));
    // The focus is on the image that one has browsed to; Enter opens it anew.
    assert!(browser.flag("document.activeElement === document.querySelector('.card:nth-child(2) button')"));
    browser.press(ENTER);
    assert_eq!(browser.text("#viewer-title"), "hole/001.png");
    browser.click("#close");
    assert!(!browser.flag("document.getElementById('viewer').open"));

    // Neither a script fails nor is anything asked of a network.
    let log = browser.post("/se/log", &json!({"type": "browser"}));
    assert_eq!(log.as_array().unwrap().len(), 0, "{log}");

    look(&browser, "report");
}

#[test]
fn a_comparison_fits_phone_and_desktop() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: no chromedriver; DAF_BROWSER can name one");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<_> = (0..3)
        .map(|seed| {
            let dir = folder.path().join(format!("run-{seed}"));
            std::fs::create_dir(&dir).unwrap();
            drawn::run(&dir, 24, seed)
        })
        .collect();
    let page = folder.path().join("compare.html");
    std::fs::write(&page, daf_report::compare(&runs).unwrap().html().unwrap()).unwrap();
    browser.open(&page);
    look(&browser, "compare");
}

/// The page must fit every window; theme follows the system's.
fn look(browser: &Browser, name: &str) {
    let target = std::env::var_os("DAF_SCREENSHOTS").map(PathBuf::from);
    let mut backgrounds = Vec::new();
    for (width, height) in [(1280, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            browser.window(width, height, scheme);
            let wide = browser
                .eval("document.documentElement.scrollWidth")
                .as_u64()
                .unwrap();
            assert!(
                wide <= u64::from(width),
                "{name} is {wide} px wide in a window of {width}"
            );
            backgrounds.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
            if let Some(target) = &target {
                browser.screenshot(&target.join(format!("{name}-{width}-{scheme}.png")), true);
            }
        }
    }
    assert!(backgrounds[0] == backgrounds[2] && backgrounds[1] == backgrounds[3]);
    assert_ne!(backgrounds[0], backgrounds[1]);
}
