use super::*;

fn data(subscriptions: &[(&str, &str, &str)]) -> ConsumerData {
    let one = |(topic, kind, text): &(&str, &str, &str)| SubscriptionData {
        topic: (*topic).to_owned(),
        expression_type: (*kind).to_owned(),
        sub_string: (*text).to_owned(),
        ..SubscriptionData::default()
    };
    ConsumerData { subscription_data_set: subscriptions.iter().map(one).collect(), ..ConsumerData::default() }
}

#[test]
fn the_same_in_other_words_is_no_conflict() {
    let mut wants = Wants::default();
    let first = data(&[("T", "TAG", "a || b"), ("U", "TAG", "*")]);
    let second = data(&[("U", "", ""), ("T", "TAG", " b||a ")]);
    assert_eq!(wants.told(1, "x", &first), News::None);
    assert_eq!(wants.told(2, "y", &second), News::None);
    assert_eq!(wants.conflict(), None);
}

#[test]
fn a_conflict_is_news_once_and_over_when_one_gives_in() {
    let mut wants = Wants::default();
    let (tags, sql) = (data(&[("T", "TAG", "a")]), data(&[("T", "SQL92", "a > 1"), ("U", "TAG", "*")]));
    wants.told(1, "x", &tags);
    let News::Found(conflict) = wants.told(2, "y", &sql) else { panic!("not found") };
    assert_eq!(
        conflict.to_string(),
        "clients 'x' and 'y' of one group want different things: \
         topic 'T': tags a against SQL92 a > 1; topic 'U': only 'y' subscribes, everything"
    );
    assert_eq!(wants.told(1, "x", &tags), News::None, "nothing new");
    assert_eq!(wants.told(3, "a", &sql), News::None, "it lasts, whoever comes");
    assert_eq!(wants.left(3), News::None);
    assert_eq!(wants.against("z", &tags).map(|conflict| conflict.clients), Some(["y", "z"].map(str::to_owned)));
    assert_eq!(wants.told(1, "x", &sql), News::Over);
    assert!(matches!(wants.told(1, "x", &tags), News::Found(_)));
    assert_eq!(wants.left(2), News::Over);
    assert_eq!(wants.against("z", &tags), None);
}

#[test]
fn a_client_that_connects_anew_does_not_differ_from_itself() {
    let mut wants = Wants::default();
    wants.told(1, "x", &data(&[("T", "TAG", "a")]));
    assert_eq!(wants.told(2, "x", &data(&[("T", "TAG", "b")])), News::None);
    assert_eq!(wants.against("x", &data(&[("T", "TAG", "c")])), None);
}

#[test]
fn a_conflict_between_others_is_found_when_its_first_client_leaves() {
    let mut wants = Wants::default();
    for (connection, client, tag) in [(1, "x", "a"), (2, "y", "b"), (3, "z", "c")] {
        wants.told(connection, client, &data(&[("T", "TAG", tag)]));
    }
    let News::Found(conflict) = wants.left(1) else { panic!("not found") };
    assert_eq!(conflict.clients, ["y", "z"].map(str::to_owned));
}

#[test]
fn a_difference_is_short_however_much_differs() {
    let topics: Vec<String> = (0..500).map(|n| format!("topic-{n}")).collect();
    let many: Vec<(&str, &str, &str)> = topics.iter().map(|topic| (topic.as_str(), "TAG", "*")).collect();
    let long = "a = 1 OR ".repeat(5_000);
    let mut wants = Wants::default();
    wants.told(1, "x", &data(&many));
    let News::Found(conflict) = wants.told(2, "y", &data(&[("topic-0", "SQL92", &long)])) else { panic!("not found") };
    assert!(conflict.difference.len() < 500 && conflict.difference.ends_with("and 497 more topics"), "{conflict}");
}
