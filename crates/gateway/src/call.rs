//! What is asked of a model server: a request that can be sent, also a second time where its body is kept.

use crate::capture::{Payload, Taken};
use crate::headers::make_copy;
use crate::outgoing::{Outgoing, Progress};
use crate::protocol::Protocol;
use crate::upstream::Origin;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};
use std::cell::RefCell;
use std::rc::Rc;
use steersman_domain::ModelName;

/// What is known of a request before it is passed on.
pub(crate) struct Call {
    pub(crate) model: ModelName,
    pub(crate) protocol: Protocol,
    /// Whether HTTP/2 is spoken with the server.
    pub(crate) http2: bool,
    /// Whether it is split and counted.
    pub(crate) predicts: bool,
    /// Whether it is recorded: of requests that are not looked into, those that do more than read.
    pub(crate) recorded: bool,
    /// Whether it may be sent a second time.
    pub(crate) repeatable: bool,
    pub(crate) id: String,
    pub(crate) unit: u64,
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    /// Ready to be sent.
    pub(crate) headers: HeaderMap,
    pub(crate) body: CallBody,
}

/// A request's body.
pub(crate) enum CallBody {
    /// All of it.
    Whole(Bytes),
    /// As it comes, once.
    Flowing { upload: RefCell<Option<Outgoing>>, progress: Rc<Progress> },
}

impl Call {
    /// The request for a server; none where its body has gone already.
    pub(crate) fn request(&self, origin: &Origin, copy: bool) -> Option<Request<Outgoing>> {
        let body = match &self.body {
            CallBody::Whole(body) => Outgoing::Whole(Some(body.clone()).filter(|body| !body.is_empty())),
            CallBody::Flowing { upload, .. } => upload.borrow_mut().take()?,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if copy {
            make_copy(request.headers_mut());
        }
        let path = match origin.prefix.is_empty() {
            true => self.path.clone(),
            false => format!("{}{}", origin.prefix, self.path).parse().ok()?,
        };
        if self.http2 {
            let scheme = if origin.tls.is_some() { "https" } else { "http" };
            let authority = origin.authority.to_str().ok()?;
            *request.uri_mut() =
                Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
            *request.version_mut() = hyper::Version::HTTP_2;
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            *request.uri_mut() = path.into();
            request.headers_mut().insert(header::HOST, origin.authority.clone());
        }
        Some(request)
    }

    /// How far a body has come that is passed on as it comes.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        match &self.body {
            CallBody::Whole(_) => None,
            CallBody::Flowing { progress, .. } => Some(progress),
        }
    }

    /// Whether no part of the body has gone.
    pub(crate) fn untouched(&self) -> bool {
        match &self.body {
            CallBody::Whole(_) => true,
            CallBody::Flowing { upload, .. } => upload.borrow().is_some(),
        }
    }

    /// What is recorded of it.
    pub(crate) fn payload(&self, limit: usize) -> Payload {
        let mut payload = match &self.body {
            CallBody::Whole(body) => {
                let mut taken = Taken::new(limit, false);
                taken.take(body);
                taken.finish()
            }
            CallBody::Flowing { progress, .. } => progress.taken.borrow_mut().finish(),
        };
        payload.describe(&self.headers);
        payload
    }
}
