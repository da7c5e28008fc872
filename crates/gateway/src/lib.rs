//! The data plane: routing, sticky split, mirror, capture
