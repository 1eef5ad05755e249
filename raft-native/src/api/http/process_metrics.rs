//! The metrics of the process, under the standard names of Prometheus clients.

use std::{fs, io};

use prometheus_client::registry::Registry;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::api::http::metrics::{register, register_counter};

/// The resource usage of this process.
struct Usage {
    resident_bytes: u64,
    virtual_bytes: u64,
    cpu_seconds: f64,
    start_seconds: u64,
    open_fds: u64,
    max_fds: Option<u64>,
}

impl Usage {
    /// Reads `/proc`, whose format `proc_pid_stat(5)` and `proc_stat(5)` describe.
    fn read() -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "invalid format of /proc");
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The name of the program, which is the second field, may contain spaces and parentheses.
        let (_, fields) = stat.rsplit_once(')').ok_or_else(invalid)?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        // The numbers of fields are those of the manual. Field 3 is the state of the process.
        let field = |n: usize| number(fields.get(n - 3).copied()).ok_or_else(invalid);
        let system = fs::read_to_string("/proc/stat")?;
        let boot = system.lines().find_map(|line| line.strip_prefix("btime "));
        let ticks_per_second = clock_ticks_per_second();
        Ok(Self {
            resident_bytes: field(24)? * page_size() as u64,
            virtual_bytes: field(23)?,
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second as f64,
            start_seconds: number(boot).ok_or_else(invalid)? + field(22)? / ticks_per_second,
            open_fds: fs::read_dir("/proc/self/fd")?.count() as u64,
            max_fds: getrlimit(Resource::Nofile).current,
        })
    }
}

/// Registers the metrics of the process. Without `/proc`, there are none.
pub(crate) fn register_usage(registry: &mut Registry) {
    let Ok(usage) = Usage::read() else {
        return;
    };
    let mut gauge = |name: &str, help: &str, value: u64| register(registry, name, help, value);
    gauge("resident_memory_bytes", "Resident memory", usage.resident_bytes);
    gauge("virtual_memory_bytes", "Virtual memory", usage.virtual_bytes);
    gauge("start_time_seconds", "Start of the process in Unix time", usage.start_seconds);
    gauge("open_fds", "Open file descriptors", usage.open_fds);
    if let Some(max) = usage.max_fds {
        gauge("max_fds", "Limit of open file descriptors", max);
    }
    register_counter(
        registry,
        "cpu_seconds",
        "Time on processors, of user and system",
        usage.cpu_seconds,
    );
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn usage_of_this_process_is_plausible() {
        let usage = Usage::read().unwrap();
        assert!((1 << 20..1 << 40).contains(&usage.resident_bytes), "{}", usage.resident_bytes);
        assert!(usage.virtual_bytes >= usage.resident_bytes);
        assert!((0.0..86_400.0).contains(&usage.cpu_seconds), "{}", usage.cpu_seconds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 86_400..=now + 1).contains(&usage.start_seconds), "{}", usage.start_seconds);
        assert!(usage.open_fds >= 3 && usage.max_fds.is_none_or(|max| max >= usage.open_fds));
    }
}
