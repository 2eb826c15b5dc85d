//! Where two logs part.

use super::common_end;

#[test]
fn a_slave_that_is_merely_behind_keeps_everything() {
    assert_eq!(common_end(&[(1, 0)], 80, &[(1, 0)], 100), 80);
    assert_eq!(common_end(&[(1, 0)], 80, &[(1, 0), (2, 90)], 100), 80);
    assert_eq!(common_end(&[], 0, &[(1, 0), (2, 90)], 100), 0);
}

#[test]
fn an_old_master_loses_what_the_next_epoch_does_not_have() {
    assert_eq!(common_end(&[(1, 0)], 120, &[(1, 0), (2, 90)], 100), 90);
    assert_eq!(common_end(&[(1, 0)], 120, &[(1, 0), (2, 90)], 300), 90);
}

#[test]
fn epochs_that_only_one_side_knows_do_not_count() {
    assert_eq!(common_end(&[(1, 0), (2, 50)], 70, &[(1, 0), (3, 40)], 90), 40);
    assert_eq!(common_end(&[(1, 0), (3, 40)], 90, &[(1, 0), (2, 50)], 70), 40);
    // The same number twice is the same mastership only if it began at the same place.
    assert_eq!(common_end(&[(1, 0), (2, 50)], 70, &[(1, 0), (2, 60)], 90), 50);
}

#[test]
fn a_master_that_lost_its_tail_cuts_a_slave_that_has_it() {
    assert_eq!(common_end(&[(1, 0)], 120, &[(1, 0), (2, 100)], 100), 100);
}

#[test]
fn what_was_written_before_epochs_is_epoch_zero() {
    assert_eq!(common_end(&[], 500, &[(1, 400)], 600), 400);
    assert_eq!(common_end(&[], 300, &[(1, 400)], 600), 300);
}
