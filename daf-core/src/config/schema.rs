use schemars::Schema;

use super::Pipeline;

/// JSON schema of a pipeline file for the parts that are linked into this program.
#[must_use]
pub fn schema() -> Schema {
    schemars::schema_for!(Pipeline)
}
