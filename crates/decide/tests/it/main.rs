//! The engine on a virtual clock, in a world that keeps its records and facts and loses everything else.

mod restarts;
mod story;
mod world;
