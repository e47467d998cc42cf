//! Anomaly detection that learns from synthetic defects: DRAEM, NSA, CutPaste, segmentation and ensembles for daf.
