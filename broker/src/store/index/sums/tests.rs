use super::*;

const SIZE: IndexSize = IndexSize { slots: 1_500, entries: 5_000 };

fn entries(count: u32) -> Vec<u8> {
    (0..count * ENTRY_LEN as u32).map(|byte| (byte / 7) as u8).collect()
}

fn values(sums: &Sums) -> Vec<u32> {
    sums.pages.iter().chain(&sums.blocks).map(|sum| sum.value).collect()
}

#[test]
fn sums_of_entries_that_came_in_parts_are_those_of_the_whole() {
    let all = entries(3_000);
    let mut whole = Sums::empty(SIZE);
    whole.append(1, &all);
    assert_eq!((whole.pages.len(), whole.blocks.len()), (2, 3));
    let mut parts = Sums::empty(SIZE);
    let mut number = 1;
    for len in [1_u32, 1_022, 1, 1_024, 900, 52] {
        let at = (number as usize - 1) * ENTRY_LEN;
        parts.append(number, &all[at..at + len as usize * ENTRY_LEN]);
        number += len;
    }
    assert_eq!(values(&parts), values(&whole));
    assert!(whole.check(Part::Block(2), &all[2_048 * ENTRY_LEN..]));
    assert!(!whole.check(Part::Block(1), &all[..1_024 * ENTRY_LEN]));
}

#[test]
fn any_wrong_byte_is_noticed() {
    let mut sums = Sums::empty(SIZE);
    sums.append(1, &entries(1_100));
    let header = Header { count: 1_101, begin_physical: 77, ..Header::default() };
    let bytes = sums.encode(&header);
    assert_eq!(Sums::decode(&bytes, SIZE, &header).map(|read| values(&read)), Some(values(&sums)));
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x10;
        assert!(Sums::decode(&wrong, SIZE, &header).is_none(), "byte {at}");
        assert!(Sums::decode(&bytes[..at], SIZE, &header).is_none(), "cut at {at}");
    }
    assert!(Sums::decode(&bytes, SIZE, &Header { end_physical: 78, ..header }).is_none());
    assert!(Sums::decode(&bytes, IndexSize { slots: 9, ..SIZE }, &header).is_none());
}

#[test]
fn the_sums_of_the_last_checkpoint_stay_until_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let io = crate::store::io::Disk;
    let sides = Sides::new(&dir.path().join(DIR), "x".to_owned());
    let header = |count| Header { count, ..Header::default() };
    let mut sums = Sums::empty(SIZE);
    let mut grow = |count: u32| {
        sums.append(count - 1, &entries(1));
        sides.store(&io, &header(count), &sums).unwrap();
    };
    let found = |count| Sides::new(&dir.path().join(DIR), "x".to_owned()).find(count);
    assert_eq!(found(2), Vouched::Never);
    grow(2);
    sides.keep();
    // Two more that no checkpoint came to rely on.
    grow(3);
    grow(4);
    assert_eq!((found(2), found(3), found(4)), (Vouched::For(header(2)), Vouched::Unfit, Vouched::For(header(4))));
    sides.keep();
    grow(5);
    assert_eq!((found(2), found(4)), (Vouched::Unfit, Vouched::For(header(4))));
    remove_others(&io, &dir.path().join(DIR), |name| name == "x").unwrap();
    assert_eq!(found(4), Vouched::For(header(4)));
    remove_others(&io, &dir.path().join(DIR), |_| false).unwrap();
    assert_eq!(found(4), Vouched::Never);
}
