//! The data plane: takes requests in, gives each to champion or candidate, copies, and hands records on.
//!
//! INVARIANT: a request waits for nothing but its upstream. It has threads of its own; routes are read without locks,
//! captures go into a bounded queue without waiting, copies run beside. What is shed is counted.
//!
//! - `route`: what the control plane tells the gateway, and what the gateway counts; `slot`: the same, ready to be gone.
//! - `way`: the way of one request. Start reading there. `call`: what is asked; `attempt`: one request to one model server.
//! - `split`: which arm a request belongs to; `budget`: how many requests a candidate may have; `memory`: what outlives
//!   the process.
//! - `protocol`: what a request asks for, and what a captured call says.
//! - `listen`: callers' connections; `lane`: connections to model servers; `upstream` and `breaker`: how those are.
//! - `outgoing` and `answer`: bodies on their way, there and back; `headers`: what is not passed on; `tls`.
//! - `remote`: a gateway as a process of its own.
//! - `capture` and `mirror`: what is handed on, what is copied. `fault`: what can go wrong, by name. `metrics`.

mod answer;
mod attempt;
mod breaker;
mod budget;
mod call;
mod capture;
mod fault;
mod gateway;
mod headers;
mod lane;
mod listen;
mod memory;
mod metrics;
mod mirror;
mod outgoing;
pub mod protocol;
pub mod remote;
mod route;
mod slot;
mod split;
mod tls;
mod upstream;
mod way;

pub use breaker::BreakerState;
pub use budget::next_grant;
pub use capture::{Capture, Payload};
pub use fault::{ClientFault, Fault};
pub use gateway::{Config, Gateway};
pub use metrics::write_counters;
pub use route::{Audience, CandidateRoute, Counters, Repeatable, Route, SegmentBudget, ServerHealth, Target};
pub use split::hash64;
pub use tls::{ClientTls, ServerTls};
