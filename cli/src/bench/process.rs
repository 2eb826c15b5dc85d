//! CPU time and memory of server processes, from /proc.

use std::fs;

use serde::Serialize;

use crate::failure::Failure;

/// Processes to watch during a measurement.
#[derive(Debug)]
pub struct Watched {
    pids: Vec<u32>,
    /// CPU seconds before.
    before: f64,
}

/// What the processes cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// User and system time of all of them.
    pub server_cpu_s: f64,
    /// The same per million messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_s_per_million: Option<f64>,
    /// VmRSS of each, with mapped files.
    pub server_rss_mib: Vec<f64>,
    /// RssAnon of each: memory that is theirs alone.
    pub server_rss_anon_mib: Vec<f64>,
    /// VmHWM of each: the most VmRSS has been.
    pub server_hwm_mib: Vec<f64>,
}

impl Watched {
    /// Watches from now on.
    ///
    /// # Errors
    /// One of the processes is not there.
    pub fn start(pids: &[u32]) -> Result<Self, Failure> {
        Ok(Self { pids: pids.to_vec(), before: cpu_seconds(pids)? })
    }

    /// Forgets what was used so far.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.before = cpu_seconds(&self.pids)?;
        Ok(())
    }

    /// What was used for so many messages; `None` when nothing is watched.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub fn cost(&self, messages: u64) -> Result<Option<Cost>, Failure> {
        if self.pids.is_empty() {
            return Ok(None);
        }
        let cpu = cpu_seconds(&self.pids)? - self.before;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let per_million = (messages > 0).then(|| super::figures::round(cpu * 1e6 / messages as f64, 2));
        let memory = |field| self.pids.iter().map(|pid| memory(*pid, field)).collect::<Result<Vec<f64>, Failure>>();
        Ok(Some(Cost {
            server_cpu_s: super::figures::round(cpu, 2),
            server_cpu_s_per_million: per_million,
            server_rss_mib: memory("VmRSS")?,
            server_rss_anon_mib: memory("RssAnon")?,
            server_hwm_mib: memory("VmHWM")?,
        }))
    }
}

impl Cost {
    /// The cost in lines of a report.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" + ");
        let per_million =
            self.server_cpu_s_per_million.map_or_else(String::new, |cpu| format!("{cpu} s per million messages, "));
        let memory = format!(
            "{} MiB of its own, {} MiB with mapped files, {} MiB at most",
            list(&self.server_rss_anon_mib),
            list(&self.server_rss_mib),
            list(&self.server_hwm_mib)
        );
        vec![("server CPU", format!("{per_million}{} s in all", self.server_cpu_s)), ("server memory", memory)]
    }
}

fn read(pid: u32, file: &str) -> Result<String, Failure> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|error| {
        Failure::other(format!("cannot read {path}: {error}; is --server-pid {pid} a running process?"))
    })
}

fn cpu_seconds(pids: &[u32]) -> Result<f64, Failure> {
    let mut ticks = 0;
    for pid in pids {
        ticks += cpu_ticks(&read(*pid, "stat")?)
            .ok_or_else(|| Failure::other(format!("/proc/{pid}/stat has an unknown form")))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15; the second field, the command, may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

fn memory(pid: u32, field: &str) -> Result<f64, Failure> {
    let status = read(pid, "status")?;
    let kib = kib(&status, field).ok_or_else(|| Failure::other(format!("/proc/{pid}/status has no {field}")))?;
    Ok(super::figures::round(kib / 1024.0, 1))
}

fn kib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_command() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        for bad in ["", "42 (x) S 1", "42 x", "42 (x) S 1 2 3 4 5 6 7 8 9 10 a b"] {
            assert_eq!(cpu_ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_is_found() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t   2048 kB\nRssAnon:\t1 kB\n", "VmRSS"), Some(2048.0));
        assert_eq!(kib("VmRSS:\t-\n", "VmRSS"), None);
    }

    #[test]
    fn our_own_process_is_watched() {
        let watched = Watched::start(&[std::process::id()]).unwrap();
        let cost = watched.cost(10).unwrap().unwrap();
        assert!(cost.server_rss_mib[0] > 0.0 && cost.server_cpu_s_per_million.is_some());
        assert!(Watched::start(&[u32::MAX]).is_err());
        assert_eq!(Watched::start(&[]).unwrap().cost(1).unwrap(), None);
    }
}
