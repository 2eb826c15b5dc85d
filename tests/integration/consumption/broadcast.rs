//! Broadcasting: every member gets every message, and keeps its own offsets.

use std::time::Duration;

use crate::cluster::{Book, Cluster, GROUP, TOPIC, silent};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_gets_every_message_and_goes_on_where_it_was() {
    let cluster = Cluster::start(2, 2).await;
    let directory = tempfile::tempdir().unwrap();
    let build = async |n: usize| {
        let directory = directory.path().join(n.to_string());
        cluster.consumer().broadcasting(Some(directory)).build().await.unwrap()
    };
    cluster.send(0..100).await;
    let books = [Book::default(), Book::default(), Book::default()];
    for (n, book) in books.iter().enumerate() {
        let consumer = build(n).await;
        book.listen(&consumer);
        book.until(100).await;
        consumer.close().await;
        book.each_once(0..100);
    }
    // Offsets are the members' own: none is at the broker.
    assert_eq!(cluster.session(0).committed(GROUP, TOPIC, 0).await.unwrap(), None);
    cluster.send(100..150).await;
    for (n, book) in books.iter().enumerate() {
        let consumer = build(n).await;
        book.listen(&consumer);
        book.until(150).await;
        consumer.close().await;
        book.each_once(0..150);
    }
    let again = build(0).await;
    silent(&again, Duration::from_millis(300)).await;
    again.close().await;
}
