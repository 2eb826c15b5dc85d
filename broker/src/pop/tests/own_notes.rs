//! What this broker has noted itself is no news to it.

use super::*;

#[test]
fn a_message_whose_time_was_changed_does_not_come_back_from_its_notes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new().await;
        run.send(0, 2);
        let held = run.pop(TOPIC, 0, 2, 60_000, true).await;
        run.held.extend(held.into_iter().map(|held| (held.id, held)));
        for _ in 0..3 {
            run.change(0, 60_000, true).await;
        }
        run.settle().await;
        run.broker.pop.read_foreign();
        assert_eq!(run.broker.pop.open().0, 2);
        run.ack(&[0, 1], true).await;
        run.settle().await;
        run.broker.pop.read_foreign();
        assert_eq!(run.broker.pop.open(), (0, 0, 0));
    });
}
