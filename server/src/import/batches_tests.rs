use holdfast_client::mock::{Fault, Mock};

use super::*;

fn pending(key: &str, values: &[&[u8]]) -> Pending {
    let lines = (1..).zip(values).map(|(line, value)| Line {
        line,
        raw: Bytes::new(),
        value: Bytes::copy_from_slice(value),
        expires: None,
    });
    Pending { key: key.to_owned().into(), lines: lines.collect() }
}

fn many(rows: usize) -> Vec<Pending> {
    (0..rows).map(|row| pending(&format!("k{row:05}"), &[b"v"])).collect()
}

#[tokio::test]
async fn rows_of_many_ranges_are_stored_and_bounds_are_asked_for_once() {
    let mock = Mock::builder().split_at("k00100").split_at("k00500").split_at("k01999").start().unwrap();
    let client = mock.client().await.unwrap();
    let writer = Writer::new(client.clone(), client.fleet_now());
    assert_eq!(writer.clone().store(many(2_000)).await.unwrap(), []);
    assert_eq!(client.scan(..).collect().await.unwrap().len(), 2_000);
    let calls = mock.stats().calls;
    assert_eq!(writer.cut(many(2_000)).iter().map(Vec::len).collect::<Vec<_>>(), [100, 400, 1_024, 475, 1]);
    assert_eq!(writer.store(many(2_000)).await.unwrap(), []);
    assert_eq!(mock.stats().calls - calls, 5, "no write is refused the second time");
}

#[tokio::test]
async fn a_row_that_the_fleet_refuses_is_told_and_all_others_are_stored() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let large = vec![0; limits::MAX_VALUE_BYTES + 1];
    let mut rows = many(100);
    rows[37] = pending("k00037", &[b"small", &large]);
    rows[38] = pending("k00038", &[&large]);
    let mut refused = Writer::new(client.clone(), client.fleet_now()).store(rows).await.unwrap();
    refused.sort_by_key(|refused| refused.line);
    assert_eq!(refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(&refused[0].why, Why::Wrong(reason) if reason.contains("a value is at most")));
    assert_eq!(client.scan(..).collect().await.unwrap().len(), 99);
    let earlier = client.get("k00037").await.unwrap().unwrap();
    assert_eq!(earlier.value, "small", "what an earlier line says stays");
}

#[tokio::test]
async fn a_fleet_that_cannot_store_fails_the_rows_by_their_first_line() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap().with_deadline(std::time::Duration::from_millis(200));
    mock.inject(Fault::unavailable().forever());
    let failed = Writer::new(client.clone(), client.fleet_now()).store(many(3)).await.unwrap_err();
    assert_eq!(failed.to_string(), "loading line 1");
}

#[tokio::test]
async fn a_lost_answer_is_found_out_and_nothing_is_written_twice() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::lose_answer());
    assert_eq!(Writer::new(client.clone(), client.fleet_now()).store(many(10)).await.unwrap(), []);
    assert_eq!(mock.versions("k00003").len(), 1);
}
