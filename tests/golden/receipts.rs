//! Receipts of popped messages in captured frames, read and written again.

use orbitmq_common::message::entry::records;
use orbitmq_common::message::receipt::{Origin, PopInfo, Receipt};
use orbitmq_common::protocol::code::request as code;
use orbitmq_common::protocol::header::pop::{AckRequest, PopResponse};

use crate::sample;

#[test]
fn receipts_that_the_client_sends_back_are_read_and_written_as_they_are() {
    let mut read = 0;
    for sample in
        sample::all().iter().filter(|sample| sample.code == code::ACK_MESSAGE && sample.direction == "request")
    {
        let header: AckRequest<'_> = sample.frame.fields().unwrap();
        let receipt = Receipt::parse(&header.extra_info).unwrap();
        assert_eq!(receipt.to_string(), header.extra_info, "{}", sample.file);
        assert_eq!((receipt.queue, receipt.offset), (header.queue_id, header.offset), "{}", sample.file);
        assert_eq!(Origin::of(&header.topic), receipt.origin, "{}", sample.file);
        read += 1;
    }
    assert!(read > 0);
}

#[test]
fn an_answer_to_a_pop_lists_its_messages_as_rocketmq_does() {
    let mut read = 0;
    for sample in sample::all().iter().filter(|sample| sample.code == code::POP_MESSAGE && sample.frame.is_answer()) {
        let told: PopResponse<'_> = sample.frame.fields().unwrap();
        let (mut info, mut found) = (PopInfo::default(), Vec::new());
        for record in records(&sample.frame.body).map(Result::unwrap) {
            found.push((record.queue_id, record.queue_offset.cast_signed()));
        }
        for same in found.chunk_by(|(queue, _), (other, _)| queue == other) {
            let offsets: Vec<i64> = same.iter().map(|(_, offset)| *offset).collect();
            info.push(Origin::Topic, same[0].0, offsets[0], &offsets);
        }
        assert_eq!(told.start_offset_info.as_deref(), Some(info.start.as_str()), "{}", sample.file);
        assert_eq!(told.msg_offset_info.as_deref(), Some(info.offsets.as_str()), "{}", sample.file);
        read += 1;
    }
    assert!(read > 0);
}
