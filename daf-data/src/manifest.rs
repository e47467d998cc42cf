use std::path::{Path, PathBuf};

use daf_core::data::files;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Item, Listing, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::table;

/// Your own images, by a table of comma-separated values.
///
/// ```text
/// path,split,label,defect,mask,category
/// good/1.png,train,normal,,,lid
/// good/2.png,test,normal,,,lid
/// bad/3.png,test,abnormal,scratch,masks/3.png,lid
/// bad/4.png,test,abnormal,"scratch, dent",masks/4.png,lid
/// ```
///
/// Paths start at the table's folder. `path` and `split` (`train` or `test`) are required; other columns may
/// be empty or left out, and columns of other names are passed over. Without `label` an image is abnormal if
/// it has a `defect` or a `mask`; in a table that has labels, a test image with none of the three is a fault.
/// A mask is white, or more than half so, where the defect is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The table, a file of UTF-8 text.
    pub file: PathBuf,
}
daf_core::register!(Dataset: Manifest = "manifest");

impl Default for Manifest {
    fn default() -> Self {
        Self {
            file: "data/product.csv".into(),
        }
    }
}

#[typetag::serde(name = Manifest::NAME)]
impl Dataset for Manifest {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        let file = files::locate(&self.file);
        let base = file.parent().unwrap_or(Path::new(""));
        table::list(&file, base, table::MANIFEST, split, |_| true).unwrap_or_else(Listing::failed)
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.file.as_os_str().is_empty() {
            return Err("file: expected a table of comma-separated values, found an empty path".into());
        }
        Ok(())
    }
}
