//! Checks of finding routes against fake name servers.
