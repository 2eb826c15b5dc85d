//! Who wants to register: the form's fields, checked.

use lettre::Address;
use serde::Deserialize;

const MAX_NAME: usize = 80; // characters
const MAX_EMAIL: usize = 254; // bytes; the longest path SMTP can carry

/// The form as it came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    pub name: String,
    pub email: String,
}

/// A field that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub field: &'static str,
    pub message: String,
}

/// A name and an address that a mail can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    pub name: String,
    pub email: String,
}

impl Applicant {
    pub fn check(form: &Form) -> Result<Self, Invalid> {
        Ok(Self { name: name(form.name.trim())?, email: email(form.email.trim())? })
    }

    /// What two registrations may not have in common.
    pub fn email_key(&self) -> String {
        self.email.to_ascii_lowercase()
    }
}

fn name(name: &str) -> Result<String, Invalid> {
    let invalid = |message: String| Err(Invalid { field: "name", message });
    let length = name.chars().count();
    if length == 0 {
        return invalid("Please enter a name.".into());
    }
    if length > MAX_NAME {
        return invalid(format!("The name has {length} characters; at most {MAX_NAME} fit."));
    }
    if name.chars().any(char::is_control) {
        return invalid("The name holds a line break or another control character; please leave it out.".into());
    }
    Ok(name.to_owned())
}

fn email(email: &str) -> Result<String, Invalid> {
    let invalid = |message: String| Err(Invalid { field: "email", message });
    if email.is_empty() {
        return invalid("Please enter an e-mail address.".into());
    }
    if email.len() > MAX_EMAIL {
        return invalid(format!("The e-mail address has {} bytes; at most {MAX_EMAIL} fit.", email.len()));
    }
    if !email.is_ascii() {
        return invalid("The e-mail address holds letters beyond ASCII, which many mail servers refuse.".into());
    }
    match email.parse::<Address>() {
        Ok(_) => Ok(email.to_owned()),
        Err(_) => invalid("This is not an e-mail address; it looks like name@example.org.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Applicant, Form};

    fn field_of(name: &str, email: &str) -> Option<&'static str> {
        Applicant::check(&Form { name: name.into(), email: email.into() }).err().map(|invalid| invalid.field)
    }

    #[test]
    fn takes_people_as_they_are() {
        for (name, email) in
            [("Ada Lovelace", "ada@example.org"), ("Zoë <b>&amp;", "z.o+e@example.org"), ("李", "A@B.example")]
        {
            assert_eq!(field_of(name, email), None, "{name} {email}");
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let long = "x".repeat(81);
        for name in ["", "   ", long.as_str(), "Ada\r\nBcc: all@example.org", "nul\0"] {
            assert_eq!(field_of(name, "ada@example.org"), Some("name"), "{name:?}");
        }
        let long = format!("{}@example.org", "x".repeat(250));
        for email in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "ada@example.org\r\nRCPT TO:<b@c>",
            "ü@example.org",
            "a@b@c",
            &long,
        ] {
            assert_eq!(field_of("Ada", email), Some("email"), "{email:?}");
        }
    }

    #[test]
    fn one_address_in_two_spellings_is_one_person() {
        let key = |email: &str| Applicant::check(&Form { name: "A".into(), email: email.into() }).unwrap().email_key();
        assert_eq!(key("Ada@Example.org "), key("ada@example.ORG"));
    }
}
