//! A gRPC client that knows only what the server's reflection tells it, like grpcurl: methods are
//! found by name, messages are built from JSON.

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
    /// Connects to the node with this port and asks what it offers. Each call gets an answer within
    /// `patience`, or fails.
    ///
    /// # Errors
    ///
    /// If it does not answer, or what it says of its services is incomplete.
    pub async fn connect(port: u16, patience: Duration) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
            .context("no address")?
            .connect_timeout(patience)
            .timeout(patience)
            .connect()
            .await
            .with_context(|| format!("no gRPC on port {port}"))?;
        let services = services(&channel).await?;
        let mut files = BTreeMap::new();
        for service in &services {
            let question = MessageRequest::FileContainingSymbol(service.clone());
            fetch_files(&channel, question, &mut files).await?;
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

    /// Calls a method like `raft.KeyValueService/Put`; its request and response are written as
    /// JSON.
    ///
    /// # Errors
    ///
    /// The outer error is for calls that can't be made: no such method, no such field. The inner
    /// one is what the server answered, or that it did not.
    pub async fn call(&self, method: &str, request: Value) -> Result<Result<Value, Status>> {
        let method = self.method(method)?;
        let message = DynamicMessage::deserialize(method.input(), request)
            .with_context(|| format!("no request for {}", method.full_name()))?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let output = method.output();
        match self.call_raw(&path, message.encode_to_vec().into()).await? {
            Ok(bytes) => {
                let message = DynamicMessage::decode(output, bytes)
                    .with_context(|| format!("{path} answers another message"))?;
                let json = serde_json::to_value(message).context("a response that is no JSON")?;
                Ok(Ok(json))
            }
            Err(status) => Ok(Err(status)),
        }
    }

    /// Calls whatever has this path with whatever bytes, and answers the bytes that come back.
    ///
    /// # Errors
    ///
    /// As [`Grpc::call`].
    pub async fn call_raw(&self, path: &str, request: Bytes) -> Result<Result<Bytes, Status>> {
        let path = PathAndQuery::try_from(path).context("no path")?;
        let mut caller = Caller::new(self.channel.clone());
        if let Err(error) = caller.ready().await {
            return Ok(Err(Status::unavailable(format!("not connected: {error}"))));
        }
        let response = caller.unary(Request::new(request), path, Raw).await;
        Ok(response.map(tonic::Response::into_inner))
    }

    fn method(&self, name: &str) -> Result<MethodDescriptor> {
        let (service, method) = name.split_once('/').context("no method name")?;
        self.pool
            .get_service_by_name(service)
            .with_context(|| format!("reflection knows no service {service}"))?
            .methods()
            .find(|candidate| candidate.name() == method)
            .with_context(|| format!("reflection knows no method {name}"))
    }
}

async fn services(channel: &Channel) -> Result<Vec<String>> {
    match reflect(channel, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => {
            Ok(list.service.into_iter().map(|entry| entry.name).collect())
        }
        other => bail!("no list of services: {other:?}"),
    }
}

/// The files of a symbol and all that they import.
async fn fetch_files(
    channel: &Channel,
    question: MessageRequest,
    files: &mut BTreeMap<String, FileDescriptorProto>,
) -> Result<()> {
    let mut questions = vec![question];
    let mut asked = BTreeSet::new();
    while let Some(question) = questions.pop() {
        let response = match reflect(channel, question.clone()).await? {
            MessageResponse::FileDescriptorResponse(response) => response,
            other => bail!("no file for {question:?}: {other:?}"),
        };
        for bytes in response.file_descriptor_proto {
            let file = FileDescriptorProto::decode(bytes.as_slice()).context("no file")?;
            for import in &file.dependency {
                if !files.contains_key(import) && asked.insert(import.clone()) {
                    questions.push(MessageRequest::FileByFilename(import.clone()));
                }
            }
            files.insert(file.name().to_owned(), file);
        }
    }
    Ok(())
}

async fn reflect(channel: &Channel, question: MessageRequest) -> Result<MessageResponse> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .context("no reflection")?
        .into_inner();
    answers
        .message()
        .await
        .context("reflection fails")?
        .and_then(|answer| answer.message_response)
        .context("reflection says nothing")
}

/// Messages as the bytes they are.
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
