//! A gRPC client that uses the reflection of the server, like grpcurl. It finds methods by name and
//! builds messages from JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes};
use prost_reflect::prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tonic::client::Grpc as Caller;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A client of one node.
#[derive(Clone)]
pub struct Grpc {
    channel: Channel,
    services: Vec<String>,
    pool: DescriptorPool,
}

impl Grpc {
    /// Connects to a node, and reads the descriptions of its services. Each call must end within
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// Returns an error if the node does not respond, or if the descriptions are incomplete.
    pub async fn connect(port: u16, timeout: Duration) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
            .context("invalid address")?
            .connect_timeout(timeout)
            .timeout(timeout)
            .connect()
            .await
            .with_context(|| format!("no gRPC on port {port}"))?;
        let services = services(&channel).await?;
        let mut files = BTreeMap::new();
        for service in &services {
            let request = MessageRequest::FileContainingSymbol(service.clone());
            fetch_files(&channel, request, &mut files).await?;
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files.into_values())
            .context("reflection describes its services incompletely")?;
        Ok(Self { channel, services, pool })
    }

    /// The names of all services.
    #[must_use]
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Calls a method such as `raft.KeyValueService/Put` with request and response as JSON.
    ///
    /// # Errors
    ///
    /// The outer error means that the call cannot be made, for example because the method is
    /// unknown. The inner error is the status of the response, or of a missing response.
    pub async fn call(&self, method: &str, request: Value) -> Result<Result<Value, Status>> {
        let method = self.method(method)?;
        let message = DynamicMessage::deserialize(method.input(), request)
            .with_context(|| format!("invalid request for {}", method.full_name()))?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let output = method.output();
        match self.call_raw(&path, message.encode_to_vec().into()).await? {
            Ok(bytes) => {
                let message = DynamicMessage::decode(output, bytes)
                    .with_context(|| format!("{path} returned another message"))?;
                let json =
                    serde_json::to_value(message).context("cannot convert a response to JSON")?;
                Ok(Ok(json))
            }
            Err(status) => Ok(Err(status)),
        }
    }

    /// Calls a path with arbitrary bytes, and returns the bytes of the response.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Grpc::call`].
    pub async fn call_raw(&self, path: &str, request: Bytes) -> Result<Result<Bytes, Status>> {
        let path = PathAndQuery::try_from(path).context("invalid path")?;
        let mut caller = Caller::new(self.channel.clone());
        if let Err(error) = caller.ready().await {
            return Ok(Err(Status::unavailable(format!("not connected: {error}"))));
        }
        let response = caller.unary(Request::new(request), path, Raw).await;
        Ok(response.map(tonic::Response::into_inner))
    }

    fn method(&self, name: &str) -> Result<MethodDescriptor> {
        let (service, method) =
            name.split_once('/').context("invalid method name; expected SERVICE/METHOD")?;
        self.pool
            .get_service_by_name(service)
            .with_context(|| format!("unknown service: {service}"))?
            .methods()
            .find(|candidate| candidate.name() == method)
            .with_context(|| format!("unknown method: {name}"))
    }
}

async fn services(channel: &Channel) -> Result<Vec<String>> {
    match reflect(channel, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => {
            Ok(list.service.into_iter().map(|entry| entry.name).collect())
        }
        other => bail!("unexpected list of services: {other:?}"),
    }
}

/// Reads the files of a symbol and all files that they import.
async fn fetch_files(
    channel: &Channel,
    first: MessageRequest,
    files: &mut BTreeMap<String, FileDescriptorProto>,
) -> Result<()> {
    let mut requests = vec![first];
    let mut requested = BTreeSet::new();
    while let Some(request) = requests.pop() {
        let response = match reflect(channel, request.clone()).await? {
            MessageResponse::FileDescriptorResponse(response) => response,
            other => bail!("unexpected response to {request:?}: {other:?}"),
        };
        for bytes in response.file_descriptor_proto {
            let file =
                FileDescriptorProto::decode(bytes.as_slice()).context("invalid file descriptor")?;
            for import in &file.dependency {
                if !files.contains_key(import) && requested.insert(import.clone()) {
                    requests.push(MessageRequest::FileByFilename(import.clone()));
                }
            }
            files.insert(file.name().to_owned(), file);
        }
    }
    Ok(())
}

async fn reflect(channel: &Channel, request: MessageRequest) -> Result<MessageResponse> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut responses = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .context("the server does not support reflection")?
        .into_inner();
    responses
        .message()
        .await
        .context("reflection failed")?
        .and_then(|response| response.message_response)
        .context("reflection returned no response")
}

/// A codec that transfers messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
