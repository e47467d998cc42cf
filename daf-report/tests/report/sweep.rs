use std::path::Path;

use daf_sweep::{AxisNames, CellResult, State, SweepManifest, SweepResults};
use serde_json::json;

use crate::drawn;

/// Two strategies and two methods with two seeds each; the last method's last seed under the second strategy
/// was never run.
fn results(folder: &Path) -> SweepResults {
    let axes = [
        ("strategy", vec!["DRA", "Simple <b>"]),
        ("method", vec!["DAF", "N|SA"]),
        ("seed", vec!["1", "2"]),
    ];
    let axes = axes.map(|(name, variants)| AxisNames {
        name: name.into(),
        variants: variants.into_iter().map(str::to_owned).collect(),
    });
    let mut list = Vec::new();
    for number in 0..8 {
        let cell = [number / 4, number / 2 % 2, number % 2];
        let cell = axes
            .iter()
            .zip(cell)
            .map(|(axis, place)| axis.variants[place].clone());
        let dir = folder.join(format!("{number}"));
        std::fs::create_dir(&dir).unwrap();
        let run = (number < 7).then(|| drawn::run(&dir, 12, number as u64));
        list.push(CellResult {
            number: number + 1,
            hash: format!("{number:016x}"),
            cell: cell.collect(),
            state: if run.is_some() {
                State::Finished
            } else {
                State::Failed("no <room>".into())
            },
            metrics: run.and_then(|run| run.metrics),
            dir,
        });
    }
    let view = json!({
        "tables": [
            { "title": "Metrics", "rows": ["strategy", "method"] },
            { "title": "Lost", "rows": ["method"], "columns": ["strategy"], "metrics": ["pixel_ap"], "drop": { "strategy": "DRA" } },
        ],
        "plots": [{ "title": "Robustness", "x": "strategy", "lines": "method", "metrics": ["pixel_ap", "image_auroc"] }],
        "panels": [{ "title": "Maps", "of": "method", "only": { "strategy": "DRA" }, "images": 4 }],
    });
    let manifest = SweepManifest {
        daf: "0.1.0".into(),
        title: "A sweep".into(),
        smoke: false,
        axes: axes.into(),
        view: serde_json::from_value(view).unwrap(),
        jobs: Vec::new(),
    };
    SweepResults::new(manifest, list)
}

#[test]
fn a_sweep_has_tables_plots_and_panels_and_shows_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let report = daf_report::sweep(&results(folder.path())).unwrap();
    let text = report.markdown();
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start} is not in:\n{text}"))
            .to_owned()
    };
    // Names begin at the left, figures end at the right.
    assert!(line("| strategy").contains("| method |"), "{text}");
    assert!(
        line("| ---").contains(" -: ") || line("| ---").contains("--: |"),
        "{text}"
    );
    assert!(line("| DRA        | DAF").matches(" ± ").count() == 4, "{text}");
    // One of two seeds is left: no spread, and a note that says so.
    let partial = line("| Simple <b> | N\\|SA");
    assert!(
        !partial.contains('±') && partial.matches("(1)").count() == 4,
        "{text}"
    );
    assert!(
        text.contains("(1) mean of 1 of 2 seeds: 1 of 2 values are missing (failed)"),
        "{text}"
    );
    // Of each strategy's two methods one is best in every metric, and both where they read the same.
    assert_eq!(
        text.split("## Lost").next().unwrap().matches("**").count(),
        2 * (2 * 4 + 1),
        "{text}"
    );

    let page = report.html().unwrap();
    assert_eq!(page.matches("<figure class=\"chart\">").count(), 2);
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 4 * 4);
    assert!(
        page.contains("Simple &#60;b&#62;") && page.contains("failed: no &#60;room&#62;"),
        "escaped"
    );
    assert!(!page.contains("Simple <b>"), "escaped");
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(outside), "it stands alone, without {outside}");
    }
    let pictures: Vec<_> = report.pictures().collect();
    let (name, png) = pictures[0];
    assert_eq!((pictures.len(), name), (1, "panels-1.png"));
    let picture = image::load_from_memory(png).unwrap();
    assert_eq!(
        (picture.width(), picture.height()),
        (4 * 160 + 3 * 4, 4 * 160 + 3 * 4)
    );
    if let Some(target) = std::env::var_os("DAF_SCREENSHOTS") {
        std::fs::write(Path::new(&target).join("sweep.html"), page).unwrap();
    }
}

#[test]
fn a_sweep_of_which_nothing_was_run_has_a_page_too() {
    let folder = tempfile::tempdir().unwrap();
    let full = results(folder.path());
    let list = full.list().iter().cloned().map(|result| CellResult {
        state: State::Waiting,
        metrics: None,
        ..result
    });
    let report = daf_report::sweep(&SweepResults::new(full.manifest().clone(), list.collect())).unwrap();
    let page = report.html().unwrap();
    assert!(page.contains("no job that it needs is finished"), "{page}");
    assert!(!report.markdown().contains(" 0.0 ") && report.markdown().contains("not run yet"));
    assert_eq!(report.pictures().count(), 0);
}
