//! Copies for the candidate: made beside the request, shed first, without the caller's credentials.

use crate::answer::Answer;
use crate::attempt::ask;
use crate::call::{Call, CallBody};
use crate::gateway::Worker;
use crate::protocol::Protocol;
use crate::route::Repeatable;
use crate::slot::{Slot, count};
use http_body_util::BodyExt as _;
use hyper::Method;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use steersman_domain::record::Arm;

/// Whether a request may be sent a second time.
pub(crate) fn repeatable(declared: Repeatable, protocol: Protocol, method: &Method) -> bool {
    match declared {
        Repeatable::All => true,
        Repeatable::Predictions if protocol.predicts() => true,
        _ => matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
    }
}

/// Has the candidate answer a copy; too many at a time are shed.
pub(crate) fn copy(worker: &Rc<Worker>, slot: &Arc<Slot>, call: &Rc<Call>) {
    let wanted = slot.route.candidate.as_ref().is_some_and(|candidate| candidate.mirror);
    if !wanted || slot.exposure.tripped().is_some() {
        return;
    }
    if !call.repeatable || !matches!(call.body, CallBody::Whole(_)) {
        return count(&slot.counts.skipped_mirrors);
    }
    let Ok(seat) = worker.shared.mirrors.clone().try_acquire_owned() else {
        return count(&slot.counts.shed_mirrors);
    };
    slot.exposure.shadow.fetch_add(1, Ordering::Relaxed);
    let (worker, slot, call) = (worker.clone(), slot.clone(), call.clone());
    tokio::task::spawn_local(async move {
        if let Ok(response) = ask(&worker, &slot, Arm::Shadow, 0.0, &call).await {
            let mut answer: Answer = response.into_body();
            while let Some(Ok(_)) = answer.frame().await {}
        }
        drop(seat);
    });
}
