//! The codec of all services: prost, but no request makes its reader take far more memory than it has bytes.
//!
//! Fields of requests are counted before they are decoded (see [`fields`]). Answers are not: they come from stores.

use std::marker::PhantomData;

use bytes::Buf;
use holdfast_types::limits;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::fields;

/// Messages as bytes, requests counted before they are decoded.
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Reads messages, requests counted before.
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // What a gRPC message is read from is one piece.
        if fields::is_request(U::NAME) && !fields::are_within::<U>(source.chunk(), limits::MAX_REQUEST_FIELDS) {
            let most = limits::MAX_REQUEST_FIELDS;
            return Err(Status::resource_exhausted(format!("the message has more than {most} fields: send several")));
        }
        U::decode(source).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
