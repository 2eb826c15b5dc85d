use super::*;

#[test]
fn a_part_is_for_broadcasting_groups_that_subscribe_by_tags() {
    let parts = |builder: ConsumerBuilder| subscriptions(&builder.only_tags("a || b").config);
    let parts = |builder| parts(builder).map(|all| all.into_iter().map(|one| one.part).collect::<Vec<_>>());
    let of = |topic: &str| Consumer::builder().group("g").subscribe(topic, "*");
    let part = Part { expression: "a || b".to_owned(), tags: vec!["a".to_owned(), "b".to_owned()] };
    assert_eq!(parts(of("t").broadcasting(None)).unwrap(), [Some(part)]);
    assert!(matches!(parts(of("t")).unwrap_err(), BuildError::Part));
    assert!(matches!(parts(of("t").ordered()).unwrap_err(), BuildError::Part));
    let by_condition = Consumer::builder().group("g").broadcasting(None).subscribe_sql("t", "a = 1");
    assert!(matches!(parts(by_condition).unwrap_err(), BuildError::Part));
    assert!(subscriptions(&of("t").config).unwrap().iter().all(|one| one.part.is_none()));
}
