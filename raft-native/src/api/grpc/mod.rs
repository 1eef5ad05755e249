//! The gRPC interface of the key-value store, with reflection and health.

mod deadline;

use std::time::Duration;

use axum::{Router, middleware};
use bytes::Bytes;
use raft_kv::{
    Command, Delete, KeyRange, OpResult, Put, RangeRequest, RequestResult, Txn, TxnResult,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use tonic_health::server::HealthReporter;

use crate::api::connection::Phase;
use crate::api::http::applied::Done;
use crate::api::http::metrics;
use crate::api::refusal::with_outcome;
use crate::api::{Api, ClientServerError};
use crate::client::{Consistency, RequestError};

mod proto {
    #![allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        reason = "generated from proto/raft.proto"
    )]
    include!("../../../proto/generated/raft.rs");
    pub(crate) const DESCRIPTORS: &[u8] =
        include_bytes!("../../../proto/generated/raft.descriptors");
}

use proto::key_value_service_server::{KeyValueService, KeyValueServiceServer};

struct Service {
    api: Api,
}

/// The routes of the gRPC services.
pub(crate) fn routes(api: Api) -> Result<Router, ClientServerError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let bytes_max = 2 * api.node.limits().request_bytes_max;
    let service = KeyValueServiceServer::new(Service { api: api.clone() })
        .max_decoding_message_size(bytes_max);
    let (reporter, health) = tonic_health::server::health_reporter();
    let counted = api.clone();
    tokio::spawn(report_health(api, reporter));
    Ok(Router::new()
        .route_service("/raft.KeyValueService/{*method}", service)
        .route_service("/grpc.health.v1.Health/{*method}", health)
        .route_service("/grpc.reflection.v1.ServerReflection/{*method}", reflection().build_v1()?)
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{*method}",
            reflection().build_v1alpha()?,
        )
        .layer(middleware::from_fn(deadline::enforce))
        .layer(middleware::from_fn_with_state(counted, metrics::count_grpc)))
}

/// Keeps the status of the health service equal to the readiness of the node, until the server
/// drains.
///
/// The readiness also depends on time, so the function checks it periodically.
async fn report_health(mut api: Api, reporter: HealthReporter) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    const INTERVAL: Duration = Duration::from_millis(100);
    let mut reported = None;
    while *api.phase.borrow_and_update() == Phase::Serving {
        let is_ready = api.node.is_ready();
        if reported != Some(is_ready) {
            reported = Some(is_ready);
            let status = if is_ready { Serving } else { NotServing };
            reporter.set_service_status("", status).await;
            reporter.set_service_status("raft.KeyValueService", status).await;
        }
        if let Ok(Err(_)) = timeout(INTERVAL, api.phase.changed()).await {
            return;
        }
    }
}

#[tonic::async_trait]
impl KeyValueService for Service {
    async fn put(
        &self,
        request: Request<proto::PutRequest>,
    ) -> Result<Response<proto::PutResponse>, Status> {
        let request = request.into_inner();
        let key = key(request.key, request.key_bytes)?;
        let put = Put::new(key, bytes(request.value, request.value_bytes));
        let command = match request.if_mod_revision {
            None => Command::new(put),
            Some(revision) if revision < 0 => {
                return Err(invalid(
                    "invalid if_mod_revision: it is negative; give a revision, or 0 for a missing key",
                ));
            }
            Some(revision) => Command::new(Txn::put_if_unchanged(put, revision)),
        };
        let done = self.execute(command).await?;
        match done.result {
            Some(RequestResult::Txn(txn)) if !txn.succeeded => Err(condition_failed(&txn)),
            _ => Ok(Response::new(proto::PutResponse { revision: done.revision })),
        }
    }

    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<proto::GetResponse>, Status> {
        let request = request.into_inner();
        let consistency = match request.consistency() {
            proto::Consistency::Linearizable => Consistency::Linearizable,
            proto::Consistency::Stale => Consistency::Stale,
        };
        let range = RangeRequest::new(KeyRange::key(key(request.key, request.key_bytes)?));
        let found = self.api.node.read(&range, consistency).await.map_err(status)?;
        let revision = found.revision;
        let Some(kv) = found.kvs.into_iter().next() else {
            return Ok(Response::new(proto::GetResponse { revision, ..Default::default() }));
        };
        Ok(Response::new(proto::GetResponse {
            found: true,
            value: String::from_utf8(kv.value.to_vec()).unwrap_or_default(),
            value_bytes: kv.value.to_vec(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            revision,
        }))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteRequest>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        let request = request.into_inner();
        let keys = KeyRange::key(key(request.key, request.key_bytes)?);
        let command = Command::new(Delete::new(keys));
        let done = self.execute(command).await?;
        match done.result {
            Some(RequestResult::Delete(result)) => Ok(Response::new(proto::DeleteResponse {
                deleted: result.deleted,
                revision: done.revision,
            })),
            _ => Err(Status::data_loss(format!(
                "result not stored: the key was deleted before revision {}; read the key",
                done.revision
            ))),
        }
    }

    async fn get_cluster_status(
        &self,
        _request: Request<proto::GetClusterStatusRequest>,
    ) -> Result<Response<proto::GetClusterStatusResponse>, Status> {
        let own = self.api.node.status().await.map_err(status)?;
        let members = self.api.node.cluster().await.into_iter().map(|member| {
            let status = member.status.as_ref();
            proto::Member {
                node_id: status.map(|s| s.node_id.clone()).unwrap_or_default(),
                role: status.map(|s| s.role.clone()).unwrap_or_default(),
                term: status.map_or(0, |s| s.term),
                commit_index: status.map_or(0, |s| s.commit_index),
                applied_index: status.map_or(0, |s| s.applied_index),
                last_index: status.map_or(0, |s| s.last_index),
                reachable: member.reachable,
                address: member.address,
            }
        });
        Ok(Response::new(proto::GetClusterStatusResponse {
            leader: own.leader.unwrap_or_default(),
            term: own.term,
            members: members.collect(),
        }))
    }
}

impl Service {
    async fn execute(&self, command: Command) -> Result<Done, Status> {
        self.api.node.execute(command).await.and_then(Done::try_from).map_err(status)
    }
}

/// The metadata with the revision of the key whose precondition failed.
const MOD_REVISION: &str = "raft-mod-revision";

fn condition_failed(txn: &TxnResult) -> Status {
    let present = txn.results.first().and_then(|result| match result {
        OpResult::Range(found) => found.kvs.first(),
        _ => None,
    });
    let mod_revision = present.map_or(0, |kv| kv.mod_revision);
    let is = match mod_revision {
        0 => "the key does not exist".to_owned(),
        revision => format!("the key was last changed at revision {revision}"),
    };
    let text = format!("precondition failed: {is}; nothing was changed, read the key again");
    let mut status = with_outcome(Status::failed_precondition(text), "not-done");
    status.metadata_mut().insert(MOD_REVISION, mod_revision.into());
    status
}

fn bytes(text: String, bytes: Vec<u8>) -> Bytes {
    if bytes.is_empty() { text.into() } else { bytes.into() }
}

fn key(text: String, binary: Vec<u8>) -> Result<Bytes, Status> {
    let key = bytes(text, binary);
    if key.is_empty() {
        Err(invalid("invalid key: the key is empty; give at least one byte"))
    } else {
        Ok(key)
    }
}

fn invalid(text: &str) -> Status {
    with_outcome(Status::invalid_argument(text), "not-done")
}

fn status(error: RequestError) -> Status {
    let text = error.to_string();
    let outcome = if error.is_definite() { "not-done" } else { "unknown" };
    let status = match error {
        RequestError::InvalidCommand(_)
        | RequestError::Rejected(_)
        | RequestError::InvalidRead(_) => Status::invalid_argument(text),
        RequestError::Overloaded | RequestError::NoSpace => Status::resource_exhausted(text),
        RequestError::NoLeader | RequestError::Behind { .. } | RequestError::Stopping => {
            Status::unavailable(text)
        }
        RequestError::Storage(_) => Status::internal(text),
        // Clients treat UNAVAILABLE as "certainly not done" and repeat the call.
        RequestError::Unknown => Status::deadline_exceeded(text),
    };
    with_outcome(status, outcome)
}
