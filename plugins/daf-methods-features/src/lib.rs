//! Anomaly detection on the features of pretrained networks: STPM, RD4AD, MKDAD, STAD and PatchCore for daf.
