//! Members that take in order at the same time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::meta::orders::Acked;
use crate::pop::take::Ordered;

const MESSAGES: i64 = 3_000;

/// Takes small batches until all is done; writes down what it got before it acknowledges it.
fn take_all(broker: &Broker, clock: &AtomicI64, seen: &Mutex<Vec<i64>>) {
    while seen.lock().unwrap().last() != Some(&(MESSAGES - 1)) {
        let (pop_time, invisible) = (clock.fetch_add(1, Ordering::SeqCst), 1 << 40);
        let limit = ReadLimit { max_messages: 2, max_bytes: 1 << 20 };
        let want = Want { topic: TOPIC, group: GROUP, queue: 0, limit, pop_time, invisible, init: &|| 0 };
        let (mut info, mut all) = (Default::default(), |_: i64, _: &[u8]| true);
        let taken = broker.pop.take_ordered(&broker.offsets, &broker.orders, &want, None, &mut info, &mut all);
        let Ordered::Taken(taken) = taken else { continue };
        for offset in taken.offsets {
            seen.lock().unwrap().push(offset);
            let handle = Handle {
                topic: TOPIC,
                group: GROUP,
                queue: 0,
                start: taken.start,
                pop_time,
                invisible,
                revive_queue: 0,
            };
            let (acked, _) = broker.pop.done_in_order(&broker.offsets, &broker.orders, &handle, offset);
            assert!(matches!(acked, Acked::Next(next, _) if next == offset + 1), "{offset}: {acked:?}");
        }
    }
}

#[test]
fn what_one_acknowledges_no_other_takes_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = runtime.block_on(async {
        let mut run = Run::new().await;
        run.send(0, usize::try_from(MESSAGES).unwrap());
        run.settle().await;
        run
    });
    let (clock, seen) = (AtomicI64::new(run.now), Mutex::new(Vec::new()));
    let _entered = runtime.enter();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| take_all(&run.broker, &clock, &seen));
        }
    });
    assert_eq!(*seen.lock().unwrap(), (0..MESSAGES).collect::<Vec<_>>());
}
