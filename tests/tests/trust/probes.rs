//! Whoever asks whether a store lives shows nothing; whoever reads its metrics shows a certificate.

use holdfast_tests::guarded::Guarded;
use holdfast_tests::{raw, tls};

/// A series that every store has.
const SERIES: &str = "holdfast_uptime_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_anonymous_and_metrics_are_not() {
    let Some(guarded) = Guarded::start().await else { return };
    let (http, metrics) = (guarded.scene.fleet.stores()[0].http, guarded.scene.fleet.stores()[0].metrics);
    for probe in ["/startz", "/livez", "/readyz"] {
        let said = raw::http_get(http, probe).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200"), "{probe}: {said}");
    }
    let plain = raw::http_get(http, "/metrics").await.unwrap();
    assert!(plain.starts_with("HTTP/1.1 404") && !plain.contains(SERIES), "{plain}");

    let prometheus = guarded.authority.issue("client/prometheus");
    let page = tls::https_get(metrics, Some(&prometheus), "/metrics").await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains(SERIES), "{page}");
    let nobody = tls::https_get(metrics, None, "/metrics").await;
    assert!(nobody.is_err(), "{nobody:?}");
    // A kubelet has no certificate and finds no probe there.
    let probe = tls::https_get(metrics, Some(&prometheus), "/livez").await.unwrap();
    assert!(probe.starts_with("HTTP/1.1 404"), "{probe}");
}
