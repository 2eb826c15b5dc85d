//! Tells refusals that a change of masters cures from those that an administrator has to cure; the code is the same (16).

/// Whether a broker refuses because it is not the master, or not surely: the next route names another one. Names, which stand in
/// quotes, do not count.
pub(crate) fn is_about_mastership(remark: &str) -> bool {
    let remark = remark.to_ascii_lowercase();
    let mut words = remark.split('\'').step_by(2).flat_map(|text| text.split(|c: char| !c.is_ascii_alphabetic()));
    words.any(|word| ["master", "slave", "lease", "epoch"].contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_other_words_are_no_news_of_masters() {
        for about in
            ["this broker is not master of 'b0'", "the slave takes no messages", "no lease any more", "Epoch 3 is over"]
        {
            assert!(is_about_mastership(about), "{about}");
        }
        for other in ["topic 'master-data' is closed, please ask", "closed by the webmaster", ""] {
            assert!(!is_about_mastership(other), "{other}");
        }
    }
}
