//! A data set for daf: it lists images and says what is known about them.

use std::fs;
use std::path::{Path, PathBuf};

use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Split, typetag};
use serde::{Deserialize, Serialize};

/// Images that a CSV file lists, one a line: `split,image,defect,mask`.
///
/// The split is `train` or `test`. A normal image has no defect, and an image may have no mask: `train,good/001.png,,` or
/// `test,bad/007.png,scratch,masks/007.png`. Paths are relative to the file. The first line may hold the names of the
/// columns.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// The CSV file.
    pub list: PathBuf,
}

daf_core::register!(Dataset: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            list: "images.csv".into(),
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Dataset for MyPart {
    // Listing is cheap and finds mistakes early. The images are opened later, one by one, by `Dataset::image`, which reads
    // image files unless you write it, too.
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        let text = fs::read_to_string(&self.list).map_err(Error::io(&self.list))?;
        let folder = self.list.parent().unwrap_or(Path::new(""));
        let mut items = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let fault =
                |reason: String| Error::data(&self.list, format!("line {number}: {reason}"));
            if line.trim().is_empty() || (number == 1 && line.starts_with("split,")) {
                continue;
            }
            let columns: Vec<_> = line.split(',').map(str::trim).collect();
            let [of, image, defect, mask] = columns[..] else {
                return Err(fault(format!(
                    "expected split,image,defect,mask, found {} columns",
                    columns.len()
                ))
                .into());
            };
            let of = match of {
                "train" => Split::Train,
                "test" => Split::Test,
                other => {
                    return Err(
                        fault(format!("expected `train` or `test`, found `{other}`")).into(),
                    );
                }
            };
            if of == Split::Train && !defect.is_empty() {
                return Err(fault(format!(
                    "{image} has a defect: training needs normal images"
                ))
                .into());
            }
            if of == split {
                items.push(Item {
                    image: folder.join(image),
                    mask: (!mask.is_empty()).then(|| folder.join(mask)),
                    defect: (!defect.is_empty()).then(|| defect.to_owned()),
                    category: None,
                });
            }
        }
        if items.is_empty() && split == Split::Train {
            return Err(Error::data(&self.list, "lists no image to learn from").into());
        }
        Ok(items)
    }
}

#[cfg(test)]
#[allow(clippy::needless_update)] // Fields that you add have their defaults in the tests.
mod tests {
    use super::*;

    /// The items of a list with this text.
    fn items(name: &str, text: &str, split: Split) -> Result<Vec<Item>, BoxError> {
        let list = std::env::temp_dir().join(format!("my-part-{name}-{}.csv", std::process::id()));
        fs::write(&list, text)?;
        let part = MyPart {
            list: list.clone(),
            ..MyPart::default()
        };
        let items = part.items(split);
        fs::remove_file(&list)?;
        items
    }

    const LIST: &str =
        "split,image,defect,mask\ntrain,a.png,,\ntest,b.png,,\n\ntest,c.png,dent,masks/c.png\n";

    #[test]
    fn lines_become_items_of_their_split() {
        let train = items("train", LIST, Split::Train).unwrap();
        assert_eq!(train, [Item::normal(std::env::temp_dir().join("a.png"))]);
        let test = items("test", LIST, Split::Test).unwrap();
        assert_eq!(
            test.iter().map(Item::label).collect::<Vec<_>>(),
            ["good", "dent"]
        );
        assert_eq!(
            test[1].mask.as_deref(),
            Some(&*std::env::temp_dir().join("masks/c.png"))
        );
    }

    #[test]
    fn faults_name_the_line() {
        for (text, reason) in [
            (
                "train,a.png",
                "line 1: expected split,image,defect,mask, found 2 columns",
            ),
            (
                "train,a.png,,\nvalid,b.png,,",
                "line 2: expected `train` or `test`",
            ),
            ("train,a.png,dent,", "line 1: a.png has a defect"),
            ("test,a.png,,", "lists no image to learn from"),
        ] {
            let error = items("fault", text, Split::Train).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
