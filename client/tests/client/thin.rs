//! The mock also answers clients without a stream, so that other tools can be tried against it.

use bytes::Bytes;
use holdfast_client::mock::Mock;
use holdfast_proto::v1;
use holdfast_proto::v1::kv_client::KvClient;
use tokio_stream::StreamExt;
use tonic::Code;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn unary_calls_and_scans_are_answered() {
    let mock = Mock::start().unwrap();
    let mut kv = KvClient::connect(format!("http://{}", mock.addresses()[0])).await.unwrap();
    for key in ["a", "b", "c"] {
        kv.put(v1::PutRequest { key: bytes(key), value: bytes("v"), ..Default::default() }).await.unwrap();
    }
    kv.delete(v1::DeleteRequest { key: bytes("b"), ..Default::default() }).await.unwrap();
    let found = kv.get(v1::GetRequest { key: bytes("a"), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(found.value.unwrap().value, bytes("v"));
    let mut pages = kv.scan(v1::ScanRequest { reverse: true, ..Default::default() }).await.unwrap().into_inner();
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!(page.rows.iter().map(|row| &row.key[..]).collect::<Vec<_>>(), [b"c", b"a"]);
    assert!(pages.next().await.is_none());
    let refused = kv.get(v1::GetRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
