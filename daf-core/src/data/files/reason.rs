use std::ffi::OsStr;
use std::path::Path;

/// Why something is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The name does not end as that of an image: the ending in lower case without its dot, empty if there is
    /// none.
    Extension(String),
    /// A hidden file, or one that an operating system puts into folders.
    Hidden,
    /// A folder of that kind, with whatever it holds.
    HiddenFolder,
    /// A link whose target is not there or cannot be looked at.
    BrokenLink,
    /// A link to a folder that the link itself lies in.
    Circle,
    /// A pipe, a socket or a device.
    Special,
    /// An image that lies in none of the folders that the data set's layout names.
    Misplaced,
}

impl Reason {
    /// The one for a file that is no image by its name.
    pub(super) fn extension_of(path: &Path) -> Self {
        let extension = path.extension().map(OsStr::to_string_lossy);
        Self::Extension(extension.unwrap_or_default().to_lowercase())
    }

    pub(super) fn counted(&self, count: usize) -> String {
        let one = count == 1;
        match self {
            Self::Extension(extension) if extension.is_empty() => format!("{count} without an ending"),
            Self::Extension(extension) => format!("{count} .{extension}"),
            Self::Hidden => format!("{count} hidden"),
            Self::HiddenFolder if one => "1 hidden folder".into(),
            Self::HiddenFolder => format!("{count} hidden folders"),
            Self::BrokenLink if one => "1 link that leads nowhere".into(),
            Self::BrokenLink => format!("{count} links that lead nowhere"),
            Self::Circle if one => "1 link that leads in a circle".into(),
            Self::Circle => format!("{count} links that lead in circles"),
            Self::Special if one => "1 pipe, socket or device".into(),
            Self::Special => format!("{count} pipes, sockets or devices"),
            Self::Misplaced if one => "1 image outside the layout's folders".into(),
            Self::Misplaced => format!("{count} images outside the layout's folders"),
        }
    }
}
