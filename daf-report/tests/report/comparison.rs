use crate::drawn;

#[test]
fn runs_stand_side_by_side_with_the_best_in_bold_and_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for (seed, name) in [(1, "plain"), (2, "with stains")] {
        let dir = folder.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        runs.push(drawn::run(&dir, 12 + 6 * seed as usize, seed));
    }
    let mut unfinished = runs[0].clone();
    unfinished.dir = folder.path().join("unfinished");
    unfinished.metrics = None;
    runs.push(unfinished);

    let comparison = daf_report::compare(&runs).unwrap();
    let text = comparison.markdown();
    assert!(
        text.contains("| plain ") && text.contains("| with stains ") && text.contains("**"),
        "{text}"
    );
    assert!(
        text.contains("not available: the run has not been evaluated"),
        "{text}"
    );
    assert!(text.contains("| seed "), "{text}");
    assert!(!text.contains("data.root"), "{text}");
    assert!(text.contains("the test images are not the same"), "{text}");
    assert!(text.contains("I-AUC per defect type"), "{text}");

    let page = comparison.html().unwrap();
    assert_eq!(page.matches("<figure class=\"chart\">").count(), 6);
    assert!(page.contains("<strong>") && page.contains("with stains"));
    if let Some(target) = std::env::var_os("DAF_SCREENSHOTS") {
        std::fs::write(std::path::Path::new(&target).join("compare.html"), page).unwrap();
    }
}

#[test]
fn runs_of_the_same_name_go_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = ["a/run", "b/run"].map(|name| folder.path().join(name));
    let runs = dirs.each_ref().map(|dir| {
        std::fs::create_dir_all(dir).unwrap();
        drawn::run(dir, 6, 1)
    });
    let text = daf_report::compare(&runs).unwrap().markdown();
    assert!(
        dirs.iter().all(|dir| text.contains(&dir.display().to_string())),
        "{text}"
    );
    // Two equal runs: both are best.
    assert_eq!(text.lines().filter(|line| line.contains("**")).count() % 2, 0);
}

#[test]
fn no_runs_are_compared_without_a_fault() {
    assert!(daf_report::compare(&[]).unwrap().html().is_ok());
}
