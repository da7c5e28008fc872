//! The Merkle log of facts, its checkpoints and proofs, and the state folded from it
