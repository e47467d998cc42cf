//! Prints the audit of a data set, without libtorch.
//! `cargo run --release -p daf-data --example audit -- '{"type": "mvtec", "root": "data/mvtec", "category": "*"}'`

use daf_core::{BoxError, Dataset};

fn main() -> Result<(), BoxError> {
    let data = std::env::args().nth(1).ok_or("expected a data set as JSON")?;
    let data: Box<dyn Dataset> = serde_json::from_str(&data)?;
    data.check()?;
    let report = daf_data::audit(data.as_ref(), Default::default(), &|done, of| {
        eprint!("\r{done} of {of}");
    });
    eprintln!();
    println!("{}", serde_json::to_string_pretty(&report)?);
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    Ok(())
}
