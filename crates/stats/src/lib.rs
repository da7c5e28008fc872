//! Sketches, distances, performance metrics, intervals and sequential tests
