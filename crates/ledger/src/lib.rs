//! The ledger: facts as leaves of a Merkle log, signed checkpoints, and the state folded from them. Pure.
//!
//! - [`leaf`]: an entry as canonical bytes (RFC 8785), and back.
//! - [`tree`]: the Merkle tree over the leaves (RFC 6962) and its tiles (C2SP `tlog-tiles`).
//! - [`checkpoint`]: the signed root (C2SP `tlog-checkpoint`, `signed-note`, Ed25519).
//! - [`verify`]: checks a whole log offline.
//! - [`state`]: what is so, as a fold over facts.

pub mod checkpoint;
pub mod leaf;
pub mod state;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, Signer, Verifier};
pub use state::State;
pub use tree::{Hash, Tile, Tree};
