//! Options: properties text in and out.

use proptest::prelude::*;

use super::*;

#[test]
fn changes_take_effect_and_are_listed() {
    let options = Options::new(Switches::default());
    let changes = parse_changes("# comment\n\norderMessageEnable=true\nenableTopicList : false\n").unwrap();
    options.apply(&changes);
    assert!(options.current().order_message);
    assert!(!options.current().topic_list);
    let text = options.to_properties();
    assert!(text.contains("orderMessageEnable=true\n") && text.contains("enableAllTopicList=true\n"), "{text}");
    assert_eq!(parse_changes(&text).unwrap().len(), SWITCHES.len());
}

#[test]
fn what_cannot_be_changed_is_told() {
    assert_eq!(parse_changes("kvConfigPath=/etc"), Err(OptionError::Forbidden("kvConfigPath".to_owned())));
    assert!(matches!(parse_changes("orderMessageEnabel=true"), Err(OptionError::Unknown { .. })));
    assert!(matches!(parse_changes("orderMessageEnable=maybe"), Err(OptionError::Value { .. })));
    assert!(matches!(parse_changes("nonsense"), Err(OptionError::Syntax(_))));
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in any::<String>()) {
        let _ = parse_changes(&text);
    }
}
