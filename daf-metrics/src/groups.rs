use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::unavailable::Unavailable;

/// Which images belong together in a table of results: those of each category, and of a category those of
/// each defect type together with its normal images.
///
/// The places it gives go to [`PixelMaps::subset`](crate::PixelMaps::subset), or choose from any other list.
///
/// ```
/// use daf_metrics::{Groups, PixelMaps, mean};
///
/// let mut maps = PixelMaps::new();
/// maps.push(&[0.1, 0.2], &[0u8, 0], 2, 1)?;
/// maps.push(&[0.1, 0.9], &[0u8, 1], 2, 1)?;
/// maps.push(&[0.15, 0.3], &[1u8, 0], 2, 1)?;
/// let groups = Groups::new([("bottle", None), ("bottle", Some("crack")), ("bottle", Some("stain"))]);
/// let bottle = &groups.categories()["bottle"];
/// assert_eq!(bottle.images(), [0, 1, 2]);
///
/// let crack = maps.subset(bottle.defect("crack")).evaluate();
/// assert_eq!(crack.auroc(), Ok(1.0));
/// let per_defect = bottle.defects().map(|d| maps.subset(bottle.defect(d)).evaluate().auroc());
/// assert_eq!(mean(per_defect)?.value, (1.0 + 1.0 / 3.0) / 2.0);
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    categories: BTreeMap<String, Category>,
}

/// The images of a category, by their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Category {
    images: Vec<usize>,
    normal: Vec<usize>,
    defects: BTreeMap<String, Vec<usize>>,
}

impl Groups {
    /// From the category and the defect types of every image in order: a normal image has none, and one with
    /// several belongs to each of them.
    pub fn new<'a, D>(images: impl IntoIterator<Item = (&'a str, D)>) -> Self
    where
        D: IntoIterator<Item = &'a str>,
    {
        let mut categories: BTreeMap<String, Category> = BTreeMap::new();
        for (place, (category, defects)) in images.into_iter().enumerate() {
            let category = categories.entry(category.to_owned()).or_default();
            category.images.push(place);
            let mut is_normal = true;
            for defect in defects {
                is_normal = false;
                category.defects.entry(defect.to_owned()).or_default().push(place);
            }
            if is_normal {
                category.normal.push(place);
            }
        }
        Self { categories }
    }

    /// All categories by name.
    pub fn categories(&self) -> &BTreeMap<String, Category> {
        &self.categories
    }
}

impl Category {
    /// All its images.
    pub fn images(&self) -> &[usize] {
        &self.images
    }

    /// Its images without defect.
    pub fn normal(&self) -> &[usize] {
        &self.normal
    }

    /// The names of its defect types in order.
    pub fn defects(&self) -> impl Iterator<Item = &str> {
        self.defects.keys().map(String::as_str)
    }

    /// The images of a defect type, after all normal ones; of an unknown type none but those.
    pub fn defect(&self, name: &str) -> impl Iterator<Item = usize> {
        let of_type = self.defects.get(name).map_or(&[][..], Vec::as_slice);
        self.normal.iter().chain(of_type).copied()
    }
}

/// An average over groups, see [`mean`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The average of the values there are.
    pub value: f64,
    /// Number of those.
    pub groups: usize,
    /// Number of groups without a value.
    pub unavailable: usize,
}

/// Average of a metric over groups, each of the same weight, and over how many: a group without a value is
/// left out and counted.
///
/// # Errors
///
/// [`Unavailable::NoValue`] if no group has one.
pub fn mean(values: impl IntoIterator<Item = Result<f64, Unavailable>>) -> Result<Mean, Unavailable> {
    let (mut sum, mut groups, mut unavailable) = (crate::walk::Sum::default(), 0, 0);
    for value in values {
        match value {
            Ok(value) => {
                sum.add(value);
                groups += 1;
            }
            Err(_) => unavailable += 1,
        }
    }
    if groups == 0 {
        return Err(Unavailable::NoValue);
    }
    Ok(Mean {
        value: sum.value() / groups as f64,
        groups,
        unavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_several_defect_types_belongs_to_each() {
        let groups = Groups::new([
            ("lid", vec![]),
            ("lid", vec!["dent", "scratch"]),
            ("lid", vec!["dent"]),
        ]);
        let lid = &groups.categories()["lid"];
        assert_eq!((lid.images(), lid.normal()), (&[0, 1, 2][..], &[0][..]));
        assert_eq!(lid.defects().collect::<Vec<_>>(), ["dent", "scratch"]);
        assert_eq!(lid.defect("dent").collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(lid.defect("scratch").collect::<Vec<_>>(), [0, 1]);
    }
}
