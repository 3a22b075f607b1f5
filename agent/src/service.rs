//! The gRPC service: decode, one call, encode. No logic; the only file that speaks the wire types.

use std::sync::Arc;

use octopus_proto::tls::Peer;
use octopus_proto::wire::tentacle_client::TentacleClient;
use octopus_proto::wire::tentacle_server::{Tentacle, TentacleServer};
use octopus_proto::{
    Confirm, Refusal, RefusalKind, Start, TrustChange, UpgradeOrder, UploadStart, Watch, encode_thumbprints, wire,
};
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use crate::agent::Agent;
use crate::{confirm, status, upgrade};

/// The service of one agent.
pub(crate) struct Service(Arc<Agent>);

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// What tonic serves.
    pub(crate) fn serve(agent: Arc<Agent>) -> TentacleServer<Self> {
        TentacleServer::new(Self(agent))
    }

    /// The portal that calls. Trust may have been taken away since it connected, and this Tentacle itself gives no orders.
    fn portal<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let peer = Peer::of(request).ok_or_else(|| Status::internal("the connection has no peer"))?;
        if self.0.trust.is_portal(&peer.thumbprint) {
            Ok(peer)
        } else {
            Err(Status::permission_denied(format!("{} is not a portal that this Tentacle trusts", peer.thumbprint)))
        }
    }

    /// Does something that waits for the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Agent>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let agent = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&agent)).await;
        done.unwrap_or_else(|error| Err(Refusal::new(RefusalKind::Internal, format!("Tentacle's own fault: {error}"))))
    }
}

#[tonic::async_trait]
impl Tentacle for Service {
    async fn get_status(&self, request: Request<wire::GetStatusRequest>) -> Answer<wire::Status> {
        let _call = self.0.calls.enter();
        let peer = Peer::of(&request).ok_or_else(|| Status::internal("the connection has no peer"))?;
        if !self.0.trust.is_own(&peer.thumbprint) {
            self.portal(&request)?;
        }
        let nonce = request.into_inner().nonce;
        let status = self.blocking(move |agent| status::status(agent, nonce, &peer.thumbprint)).await?;
        Ok(Response::new(status.into()))
    }

    async fn begin_upload(&self, request: Request<wire::BeginUploadRequest>) -> Answer<wire::BeginUploadReply> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        self.0.works.refuse_when_ending()?;
        let offset = self.0.uploads.begin(request.into_inner().try_into()?).await?;
        Ok(Response::new(offset.into()))
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadChunk>>) -> Answer<wire::UploadReply> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        self.0.works.refuse_when_ending()?;
        let mut chunks = request.into_inner();
        let Some(first) = chunks.message().await? else {
            return Err(Refusal::new(RefusalKind::BadRequest, "the upload has no first message").into());
        };
        let start = UploadStart::try_from(&first)?;
        let pieces = tokio_stream::once(Ok(first.data)).chain(chunks.map(|chunk| chunk.map(|chunk| chunk.data)));
        let uploaded = tokio::select! {
            uploaded = self.0.uploads.receive(start, pieces) => uploaded?,
            () = self.0.ending.cancelled() => {
                return Err(Refusal::new(RefusalKind::Ending, "this Tentacle is ending: resume with its successor").into());
            }
        };
        Ok(Response::new(uploaded.into()))
    }

    async fn start(&self, request: Request<wire::StartRequest>) -> Answer<wire::StartReply> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        let start = Start::try_from(request.into_inner())?;
        self.blocking(move |agent| agent.works.start(start)).await?;
        Ok(Response::new(wire::StartReply {}))
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Answer<wire::Progress> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        let watch = Watch::try_from(request.into_inner())?;
        let progress = self.0.works.watch(watch, &self.0.ending).await?;
        Ok(Response::new(progress.into()))
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Answer<wire::CancelReply> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        self.0.works.cancel(&request.into_inner().ticket.parse()?)?;
        Ok(Response::new(wire::CancelReply {}))
    }

    async fn upgrade(&self, request: Request<wire::UpgradeRequest>) -> Answer<wire::UpgradeReply> {
        let _call = self.0.calls.enter();
        let portal = self.portal(&request)?;
        let order = UpgradeOrder::try_from(request.into_inner())?;
        upgrade::accept(&self.0, order, portal.thumbprint).await?;
        Ok(Response::new(wire::UpgradeReply {}))
    }

    async fn confirm(&self, request: Request<wire::ConfirmRequest>) -> Answer<wire::ConfirmReply> {
        let _call = self.0.calls.enter();
        self.portal(&request)?;
        let order = Confirm::try_from(request.into_inner())?;
        self.blocking(move |agent| confirm::confirm(agent, &order)).await?;
        Ok(Response::new(wire::ConfirmReply {}))
    }

    async fn trust(&self, request: Request<wire::TrustRequest>) -> Answer<wire::TrustReply> {
        let _call = self.0.calls.enter();
        let portal = self.portal(&request)?;
        let change = TrustChange::try_from(request.into_inner())?;
        let trusted = self.blocking(move |agent| agent.trust.change(&change, &portal.thumbprint)).await?;
        Ok(Response::new(wire::TrustReply { trusted: encode_thumbprints(&trusted) }))
    }
}

/// Asks a Tentacle for its status and throws the answer away: for the self-watch.
pub(crate) async fn knock(channel: tonic::transport::Channel) -> Result<(), Status> {
    let request = wire::GetStatusRequest { nonce: "self-watch".to_owned() };
    TentacleClient::new(channel).get_status(request).await.map(drop)
}
