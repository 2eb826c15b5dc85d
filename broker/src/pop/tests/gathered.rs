//! Acknowledgements that are written together.

use super::*;

#[test]
fn an_acknowledgement_is_written_with_its_neighbours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new().await;
        run.send(0, 8);
        let held = run.pop(TOPIC, 0, 8, 60_000, true).await;
        let notes = |run: &Run| -> i64 {
            (0..REVIVE_QUEUES).map(|queue| run.broker.store.max_offset(run.broker.pop.topic(), queue)).sum()
        };
        assert_eq!(notes(&run), 1);
        run.held.extend(held.into_iter().map(|held| (held.id, held)));
        let ids: Vec<u64> = (0..8).collect();
        run.ack(&ids, true).await;
        assert_eq!(notes(&run), 2, "eight acknowledgements, one note");
        assert_eq!(run.broker.pop.open(), (0, 0, 0));
        run.crash(true).await;
        assert_eq!(run.broker.pop.open(), (0, 0, 0));
        assert!(run.pop(TOPIC, 0, 8, 60_000, true).await.is_empty(), "the group goes on where it was");
    });
}
