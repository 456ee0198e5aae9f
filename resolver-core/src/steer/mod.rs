//! Steered names: an RRset of type `STEER` names a service, and each query is answered from the endpoints of that
//! service that are eligible at this moment.

pub mod hash;
